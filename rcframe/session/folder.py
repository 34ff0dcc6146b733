"""The folder of a run: what was asked, how it went, what came out, and what is needed to go on."""

from __future__ import annotations

import contextlib
import itertools
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import torch
from torch import nn

from rcframe.errors import RequestError, RunFailed
from rcframe.files import write_text
from rcframe.networks.weights import Architecture, save_network
from rcframe.session.config import RunConfig, typed, write_config
from rcframe.session.evidence import Evidence, write_evidence
from rcframe.session.layout import RunFiles, refuse_unless_begun
from rcframe.session.report import Report
from rcframe.session.versions import versions_used
from rcframe.storage.locks import locked_or_refused

if TYPE_CHECKING:
    from rcframe.session.session import Session


@attrs.frozen
class RunFolder(RunFiles):
    """The folder of a run that has begun. It comes into being with its configuration, or not at all."""

    def reserved(self) -> AbstractContextManager[None]:
        """Keep other processes from working on this run."""
        return locked_or_refused(self.lock, f"Another process is working on the run in `{self.path}`.")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from working on this run, and clear what a killed one left half-written."""
        with self.reserved():
            try:
                self.progress.mkdir(exist_ok=True)
                for left in [*self.path.glob(".*.tmp"), *self.progress.glob(".*.tmp")]:
                    left.unlink(missing_ok=True)
            except OSError as error:
                raise RunFailed(f"The folder `{self.path}` cannot be written: {error.strerror}.") from error
            yield

    def save_teacher(self, module: nn.Module, architecture: Architecture) -> None:
        """Save the teacher's weights."""
        save_network(self.path / "teacher.safetensors", module, architecture)

    def save_student(self, module: nn.Module, architecture: Architecture) -> None:
        """Save the student's weights."""
        save_network(self.path / "student.safetensors", module, architecture)

    def finish(self, report: Report, evidence: Evidence) -> None:
        """Write what came out, `report.json` last: once it is there, nothing is left to go on with."""
        write_evidence(self.evidence, evidence)
        write_text(self.report, report.to_json())
        self.clear()

    def clear(self) -> None:
        """Remove the state of a finished run; it may have been killed while it did so itself."""
        shutil.rmtree(self.progress, ignore_errors=True)


class Taken(RequestError):
    """The folder for a new run is there already."""


def create_folder(path: Path, session: Session) -> RunFolder:
    """Create the folder of a new run; one that exists already is refused, so that no run overwrites another."""
    if path.exists():
        raise Taken(
            f"The output folder `{path}` exists already. Choose another with --out, remove it, or go on with the run "
            f"in it: rcframe run --resume {path}"
        )
    if not _place(path, describe(session)):
        raise Taken(f"The output folder `{path}` was created by somebody else just now.")
    return RunFolder(path)


def fresh_folder(session: Session, parent: Path = Path("runs")) -> RunFolder:
    """Create a folder named after the run's parts and a number that is free."""
    stem, text = _stem(session.config), describe(session)
    for number in itertools.count(1):
        path = parent / f"{stem}-{number}"
        if not path.exists() and _place(path, text):
            return RunFolder(path)
    raise AssertionError


def _stem(config: RunConfig) -> str:
    parts = [config.data.name, config.teacher.name, *(choice.name for choice in config.students)]
    return "-".join([*parts, *(choice.name for choice in (*config.pruners, config.neuron) if choice)])


def open_folder(path: Path) -> RunFolder:
    """Open the folder of a run that has begun."""
    folder = RunFolder(path)
    refuse_unless_begun(folder)
    return folder


def describe(session: Session) -> str:
    """Return the configuration that repeats a run, with facts for the reader."""
    environment = {
        "device": str(session.compute.device),
        "threads": session.config.threads or torch.get_num_threads(),
        "processes": session.compute.count,
        "platform": platform.platform(),
    }
    facts = {
        "command": session.command,
        "typed": typed(session.config),
        "versions": versions_used(session.config),
        "environment": environment,
    }
    return write_config(session.config, session.parts.by_setting(), facts)


def _place(path: Path, config: str) -> bool:
    """Put a folder with its configuration at `path` in one step; False if something is there by now."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        # `mkdir` says of a file in its way that it exists, which helps nobody.
        reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
        raise RequestError(f"Cannot create the output folder `{path}`: {reason}.") from error
    try:
        write_text(made / "run.toml", config)
        made.chmod(0o755)
        made.rename(path)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        if path.exists():
            return False
        raise
    except RunFailed as error:
        shutil.rmtree(made, ignore_errors=True)
        # The folder in the making has a name that means nothing to the user.
        raise RunFailed(str(error).replace(str(made), str(path))) from error
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return True

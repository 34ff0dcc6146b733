"""Runs from the outside: start one, go on with one, repeat one with several seeds."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import attrs

from rcframe.data.prepare import about_root
from rcframe.errors import RequestError, listed
from rcframe.files import write_text
from rcframe.session.assemble import build_parts
from rcframe.session.config import FREE, PARTS, SETTINGS, RunConfig, config_of, edited, read_config
from rcframe.session.folder import RunFolder, Taken, create_folder, fresh_folder, open_folder
from rcframe.session.report import Report
from rcframe.session.results import Result, read_result
from rcframe.session.seeds import SeedsReport
from rcframe.session.session import Session, carry_out, prepare_session
from rcframe.session.stopping import Stop
from rcframe.storage.cache import Cache
from rcframe.storage.locks import Busy, locked
from rcframe.training.monitor import Monitor

#: What stands in a configuration for whatever the machine, or the data, suggests.
_LEFT_OPEN = {"device": "auto", "threads": None, "eps": None}


@attrs.frozen
class Outcome:
    """What a run found, and where it is written."""

    result: Result
    folder: Path | None
    #: Whether this process is the one that speaks, where several carried the run out.
    is_main: bool = True


@attrs.frozen(kw_only=True)
class Conductor:
    """Carries out runs with one display, one cache and one way to stop them."""

    display: Monitor = attrs.field(factory=Monitor)
    #: Finished work is taken from here and put here; None computes everything.
    cache: Cache | None = None
    stop: Stop = attrs.field(factory=Stop)
    #: Go on with a run although its code or settings have changed.
    despite_changes: bool = False

    def start(self, config: RunConfig, command: str, out: Path | None, *, fresh: bool = False) -> Outcome:
        """Start a run that writes to `out`, to a fresh folder below `runs`, or nowhere."""
        session = prepare_session(config, command)
        if session.compute.is_main and (words := about_root(Path(config.data_root) if config.data_root else None)):
            self.display.said(words)

        def make() -> RunFolder | None:
            return create_folder(out, session) if out else fresh_folder(session) if fresh else None

        return self._follow(session, session.compute.from_main(make))

    def start_or_resume(self, config: RunConfig, command: str, out: Path) -> Outcome:
        """Start a run that writes to `out`, or go on with it if it is there; wait while another process is at it."""
        if not out.exists():
            # Another process may create the folder first, or begin to work in it before this one does.
            with contextlib.suppress(Taken, Busy):
                return self.start(config, command, out)
        folder = open_folder(out)
        begun, _ = _begun(folder, read_config(folder.config))
        if different := _differing(config, begun):
            raise RequestError(
                f"`{out}` holds another run than this one: they differ in {listed(different)}. Choose another folder "
                f"with --out."
            )
        while True:
            with locked(folder.lock, lambda: self.display.said(f"another process works in {out}; waiting for it")):
                pass
            with contextlib.suppress(Busy):
                return self.resume(out)

    def resume(self, path: Path) -> Outcome:
        """Go on with the run in a folder; one that is finished is only read."""
        folder = open_folder(path)
        if folder.report.exists():
            return Outcome(_finished(folder), path, os.environ.get("RANK", "0") == "0")
        document = read_config(folder.config)
        changed = edited(document)
        if changed:
            self._refuse_edited(folder, document, changed)
        session = prepare_session(*_begun(folder, document))
        return self._follow(session, folder, changed)

    def _refuse_edited(self, folder: RunFolder, document: Mapping[str, object], changed: Sequence[str]) -> None:
        # Seeds that are compared must have met the same settings.
        if self.despite_changes and document.get("seeds") == 1:
            return
        raise RequestError(
            f"`{folder.config}` was edited since the run began ({listed(changed)}), but a run keeps its settings. Undo "
            f"that, or go on all the same with --despite-changes, which the report will say and which cannot be done "
            f"with several seeds, or start a new run from it: rcframe run {folder.config}"
        )

    def _follow(self, session: Session, folder: RunFolder | None, changed: Sequence[str] = ()) -> Outcome:
        path, several = folder.path if folder else None, session.config.seeds > 1
        try:
            with self.stop.working():
                result = self._repeated(session, folder) if several else self._once(session, folder, changed)
            return Outcome(result, path, session.compute.is_main)
        finally:
            session.compute.close()

    def _once(self, session: Session, folder: RunFolder | None, changed: Sequence[str] = ()) -> Report:
        return carry_out(
            session,
            self.display,
            folder,
            self.cache,
            self.stop,
            despite_changes=self.despite_changes,
            edited=tuple(f"the setting {name}" for name in changed),
        )

    def _repeated(self, session: Session, folder: RunFolder | None) -> SeedsReport:
        """Carry out one run per seed, each in a folder of its own; those that are finished are read."""
        config, main = session.config, session.compute.is_main
        runs = []
        with folder.reserved() if folder and main else nullcontext():
            for seed in range(config.seed, config.seed + config.seeds):
                if main:
                    self.display.said(f"seed {seed}")
                one = prepare_session(attrs.evolve(config, seed=seed, seeds=1), session.command)
                runs.append(self._one_seed(one, folder.of_seed(seed) if folder else None, folder))
            report = SeedsReport(session.command, tuple(runs))
            if folder and main:
                write_text(folder.report, report.to_json())
        return report

    def _one_seed(self, session: Session, path: Path | None, parent: RunFolder | None) -> Report:
        def make() -> RunFolder | None:
            return None if path is None else open_folder(path) if path.exists() else create_folder(path, session)

        folder = session.compute.from_main(make)
        if folder and folder.report.exists():
            result = _finished(folder)
            if not isinstance(result, Report):
                raise RequestError(f"`{folder.report}` is not the report of one run.")
            return result
        try:
            return self._once(session, folder)
        except BaseException as error:
            # The folder to go on with is the one that the user named.
            if parent and hasattr(error, "__notes__"):
                own, named = shlex.quote(str(path)), shlex.quote(str(parent.path))
                error.__notes__[:] = [note.replace(own, named) for note in error.__notes__]
            raise


def _finished(folder: RunFolder) -> Result:
    """Read what a finished run found."""
    result = read_result(folder.report)
    folder.clear()
    return result


def _begun(folder: RunFolder, document: Mapping[str, object]) -> tuple[RunConfig, str]:
    """Return the configuration and the command of a run that has begun."""
    if "typed" not in document:
        raise _unlike_written(folder)
    try:
        return config_of(document), str(document.get("command", "rcframe run"))
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _unlike_written(folder) from error


def _unlike_written(folder: RunFolder) -> RequestError:
    return RequestError(
        f"`{folder.config}` is not as the run wrote it, so the run cannot go on. Undo the changes, or start a new "
        f"run from it: rcframe run {folder.config}"
    )


def _differing(asked: RunConfig, begun: RunConfig) -> list[str]:
    """Name the settings in which a run that has begun is not what is asked for now.

    What is left to the machine or the data now, such as the device, may have become anything.
    """
    mine, theirs = build_parts(asked).by_setting(), build_parts(begun).by_setting()
    left_open = {name for name, default in _LEFT_OPEN.items() if getattr(asked, name) == default}
    plain = [name for name in SETTINGS if name not in {*PARTS, *FREE, *left_open}]
    return [
        *(name for name in PARTS if mine[name] != theirs[name]),
        *(name for name in plain if _points(asked, name) != _points(begun, name)),
    ]


def _points(config: RunConfig, name: str) -> object:
    """Return a setting; several radii count, however they were typed."""
    return config.curve if name == "eps" and config.curve else getattr(config, name)

"""Runs of the command line in processes of their own, with a plugin that goes wrong when asked to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
import pytest
import torch
from safetensors.torch import load_file

# Imported here, so that the processes that are forked from this one start quickly.
import rcframe.session.conduct
import rcframe.session.progress  # noqa: F401
from rcframe.registry import registry
from rcframe.storage.state_file import read_state

#: Twelve batches of the teacher, eighteen of the student in two stages, and three measurements of each.
RUN = (
    "--data=glyphs:classes=3,size=12,train=96,test=64,rotation=0,noise=0.01",
    "--model=convnet:channels=8+8,hidden=16",
    *("--teacher=plain:epochs=2,batch_size=16,lr=0.02", "--student=troubled:epochs=2,batch_size=16,lr=0.02"),
    *("--attack=troubled", "--certifier=troubled", "--eps=0.1"),
    *("--checkpoint=0", "--threads=1", "--device=cpu"),
)
_PATIENCE_SECONDS = 120
_PIPE_BYTES = 65536


@attrs.frozen
class Ended:
    """How a process ended (minus the number of a signal that killed it) and what it printed."""

    code: int
    out: str
    err: str


@attrs.frozen
class Running:
    """A process under way, and where what it prints can be read."""

    number: int
    out: int
    err: int

    def end(self) -> Ended:
        """Wait for the end."""
        code = self._code()
        return Ended(code, *map(_read, (self.out, self.err)))

    def _code(self) -> int:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        os.kill(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)
        raise AssertionError(f"it did not end: {_read(self.err)}")


def _read(pipe: int) -> str:
    """Return what is in a pipe; less than what fits into it is ever printed."""
    # A process that was left behind may hold the other end.
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, _PIPE_BYTES).decode()
    except BlockingIOError:
        return ""
    finally:
        os.close(pipe)


def _nothing() -> None:
    """Prepare nothing."""


@attrs.frozen
class Bench:
    """Starts `rcframe` in processes of their own, in which the plugin of `site` is installed."""

    site: Path
    #: The folder of a run that nothing disturbed.
    whole: Path

    def start(self, *arguments: str, before: Callable[[], object] = _nothing, **environment: str) -> Running:
        """Start `rcframe` with arguments; `before` is called in its process first."""
        out, err = os.pipe(), os.pipe()
        number = os.fork()
        if number == 0:
            # Whatever happens here must not return into the tests.
            try:
                os.dup2(out[1], 1)
                os.dup2(err[1], 2)
                self._become(arguments, before, environment)
            finally:
                os._exit(99)
        os.close(out[1])
        os.close(err[1])
        return Running(number, out[0], err[0])

    def _become(self, arguments: Sequence[str], before: Callable[[], object], environment: Mapping[str, str]) -> None:
        # Threads that torch may have started in the process of the tests were not forked.
        torch.set_num_threads(1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w", buffering=1)
        # A source that is edited at once must not be taken for the one before.
        sys.dont_write_bytecode = True
        sys.path.insert(0, str(self.site))
        registry.cache_clear()
        os.environ.update({"RCFRAME_PLUGINS": "troubled,rcframe-attacks", **environment})
        before()
        from rcframe.cli import main

        try:
            main(arguments)
        except SystemExit as ended:
            sys.stdout.flush()
            os._exit(ended.code if isinstance(ended.code, int) else 98)
        except BaseException:
            traceback.print_exc()
            raise

    def starting(
        self, folder: Path, *more: str, before: Callable[[], object] = _nothing, **environment: str
    ) -> Running:
        """Start the usual run; it only has a cache if one is named in its environment."""
        shared = () if "RCFRAME_CACHE" in environment else ("--no-cache",)
        return self.start("run", *RUN, *shared, *more, f"--out={folder}", before=before, **environment)

    def begin(self, folder: Path, *more: str, before: Callable[[], object] = _nothing, **environment: str) -> Ended:
        """Carry out the usual run."""
        return self.starting(folder, *more, before=before, **environment).end()

    def resuming(self, folder: Path, *more: str, **environment: str) -> Running:
        """Start to go on with a run; it only has a cache if one is named in its environment."""
        shared = () if "RCFRAME_CACHE" in environment else ("--no-cache",)
        return self.start("run", f"--resume={folder}", *shared, *more, before=_nothing, **environment)

    def resume(self, folder: Path, *more: str, **environment: str) -> Ended:
        """Go on with a run."""
        return self.resuming(folder, *more, **environment).end()

    def stopped(self, ended: Ended, folder: Path, code: int = 1) -> str:
        """Return the sentence that a run ended with; it ended as it must, with all its files intact."""
        assert ended.code == code, ended
        assert ended.out == ""
        assert "Traceback" not in ended.err
        assert "Exception" not in ended.err
        *_, sentence, advice = ended.err.splitlines()
        assert sentence.startswith("Error: ")
        assert advice == f"What was computed is kept. Go on with: rcframe run --resume {folder}"
        assert_intact(folder)
        return sentence

    def goes_on(self, folder: Path, **environment: str) -> Ended:
        """Resume a run, which must end as if nothing had disturbed it."""
        ended = self.resume(folder, **environment)
        assert ended.code == 0, ended
        self.undisturbed(folder)
        return ended

    def undisturbed(self, folder: Path, whole: Path | None = None) -> None:
        """Hold the outcome of a run against that of one which nothing disturbed."""
        whole = whole or self.whole
        for name in ("teacher.safetensors", "student.safetensors", "evidence.safetensors"):
            assert (folder / name).read_bytes() == (whole / name).read_bytes(), name
        assert _numbers(folder) == _numbers(whole)
        assert _curves(folder) == _curves(whole)
        assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


def assert_intact(folder: Path) -> None:
    """Read every file of a run: each is whole, and nothing half-written is beside it."""
    for path in folder.rglob("*.safetensors"):
        read_state(path) if path.parent.name == "progress" else load_file(path)
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    for path in folder.rglob("metrics.jsonl"):
        _curves(path.parent)
    assert list(folder.rglob("*.tmp")) == []


def _numbers(folder: Path) -> dict[str, object]:
    report: dict[str, object] = json.loads((folder / "report.json").read_text())
    return {name: value for name, value in report.items() if name not in ("seconds", "command")}


def _curves(folder: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def put_plugin(site: Path) -> Path:
    """Install the troubled plugin in `site` and return its source."""
    described = site / "troubled-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: troubled\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[rcframe]\ntroubled = troubled\n")
    return Path(shutil.copy(Path(__file__).with_name("troubled.py"), site))


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Processes with the troubled plugin, and what they find if nothing disturbs them."""
    # The first optimizer of a process imports half of torch, which every forked one would do again.
    torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    place = tmp_path_factory.mktemp("bench")
    put_plugin(place / "site")
    bench = Bench(place / "site", place / "whole")
    ended = bench.begin(bench.whole)
    assert ended.code == 0, ended
    return bench


@pytest.fixture
def troubled(tmp_path: Path, bench: Bench) -> tuple[Bench, Path]:
    """The same with a plugin of its own, whose source may be edited."""
    source = put_plugin(tmp_path / "site")
    return attrs.evolve(bench, site=tmp_path / "site"), source


class Gate:
    """Where a run waits until it is let through."""

    def __init__(self, folder: Path) -> None:
        self._here, self.path = folder / "here", folder / "gate"

    def reached(self) -> None:
        """Wait until the run is there."""
        deadline = time.monotonic() + 60
        while not self._here.exists():
            assert time.monotonic() < deadline, "the run never came to the gate"
            time.sleep(0.005)

    def open(self) -> None:
        """Let the run through."""
        self.path.touch()


@pytest.fixture
def gate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate that is shut; nobody is left waiting there when a test fails."""
    gate = Gate(tmp_path_factory.mktemp("gate"))
    yield gate
    gate.open()

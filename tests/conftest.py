from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import attrs
import pytest
from hypothesis import settings

from rcframe.api import Component
from rcframe.hookspecs import Spec
from rcframe.registry import Plugin, registry

# How long an example takes is not what is tested.
settings.register_profile("rcframe", deadline=None, max_examples=50)
settings.load_profile("rcframe")


@attrs.frozen
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


class Install(Protocol):
    """Puts a distribution on the import path of the test and of its subprocesses; returns the folder it is in."""

    def __call__(
        self,
        name: str,
        announces: Sequence[Mapping[str, object]] = (),
        *,
        body: str = "",
        source: str | None = None,
        module: str | None = None,
        version: str = "1.0",
        point: str | None = None,
        target: str | None = None,
    ) -> Path: ...


class Command(Protocol):
    """Runs `rcframe` with arguments and environment variables."""

    def __call__(self, *arguments: str, **environment: str) -> Outcome: ...


#: What a generated plugin module starts with.
PLUGIN = """
from rcframe import Spec, hookimpl

@hookimpl
def rcframe_components():
    return [Spec(**spec) for spec in {announces!r}]

"""


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the variables of whoever runs the tests away from rcframe."""
    for name in os.environ:
        if name.startswith("RCFRAME_") and name != "RCFRAME_CACHE":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def own_interrupts() -> Iterator[None]:
    """Let no test that ends in an interrupt teach the later ones, and the programs they start, to ignore Ctrl-C."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty cache."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("RCFRAME_CACHE", str(cache))
    return cache


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder that generated distributions are installed in."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


@pytest.fixture
def fresh_registry() -> Iterator[None]:
    """Find plugins anew in this test, and again after it."""
    registry.cache_clear()
    yield
    registry.cache_clear()


@pytest.fixture
def install(site: Path, fresh_registry: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install generated distributions until the test ends."""
    monkeypatch.syspath_prepend(site)

    def put(
        name: str,
        announces: Sequence[Mapping[str, object]] = (),
        *,
        body: str = "",
        source: str | None = None,
        module: str | None = None,
        version: str = "1.0",
        point: str | None = None,
        target: str | None = None,
    ) -> Path:
        module = module or name.replace("-", "_")
        text = PLUGIN.format(announces=[dict(spec) for spec in announces]) + body if source is None else source
        (site / f"{module}.py").write_text(text)
        described = site / f"{name.replace('-', '_')}-{version}.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (described / "entry_points.txt").write_text(f"[rcframe]\n{point or module} = {target or module}\n")
        importlib.invalidate_caches()
        registry.cache_clear()
        return site

    yield put
    for name, loaded in list(sys.modules.items()):
        if str(getattr(loaded, "__file__", None)).startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process, in an empty folder, with wide lines."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("COLUMNS", "300")

    def call(*arguments: str, **environment: str) -> Outcome:
        from rcframe.cli import main

        capfd.readouterr()
        with monkeypatch.context() as patched:
            for name, value in environment.items():
                patched.setenv(name, value)
            with pytest.raises(SystemExit) as ended:
                main(arguments)
        assert isinstance(ended.value.code, int)
        return Outcome(ended.value.code, *capfd.readouterr())

    return call


@pytest.fixture
def shell(site: Path, tmp_path: Path) -> Command:
    """Run the command line in a process of its own that says, at its end, whether torch was imported."""
    code = (
        "import atexit, sys; from rcframe.cli import main;"
        "atexit.register(lambda: print('with torch' if 'torch' in sys.modules else 'without torch', file=sys.stderr));"
        "main(sys.argv[1:])"
    )

    def call(*arguments: str, **environment: str) -> Outcome:
        kept = {"RCFRAME_CACHE": os.environ["RCFRAME_CACHE"]}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RCFRAME_")} | kept
        path = os.pathsep.join(filter(None, [str(site), inherited.get("PYTHONPATH")]))
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=inherited | {"PYTHONPATH": path, "COLUMNS": "300"} | environment,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


class Announce(Protocol):
    """Makes a component class of a test known by name, as if the installed plugin `rcframe-tests` brought it."""

    def __call__(self, cls: type[Component], name: str, summary: str = "Made by a test.") -> Spec: ...


@pytest.fixture
def announce(monkeypatch: pytest.MonkeyPatch) -> Announce:
    """Announce component classes that a test module defines, until the test ends."""
    known = registry()
    before = list(known.plugins)
    specs: list[Spec] = []

    def add(cls: type[Component], name: str, summary: str = "Made by a test.") -> Spec:
        specs.append(Spec(kind=cls.kind, name=name, target=f"{cls.__module__}:{cls.__qualname__}", summary=summary))
        plugin = Plugin("rcframe-tests", "1.0", cls.__module__, tuple(specs))
        monkeypatch.setattr(known, "plugins", [*before, plugin])
        return specs[-1]

    return add

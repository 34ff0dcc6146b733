"""Settings and fixtures of the whole test suite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Generator
from pathlib import Path

import attrs
import pytest

# Two workers on two cores: more threads would only wait for each other. Set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that runs the tests in the background lets them ignore Ctrl-C, and so would every program that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nothing that a test computes may reach the cache of whoever runs the tests, or come from it.
_CACHE = tempfile.TemporaryDirectory(prefix="rcframe-tests-")
os.environ["RCFRAME_CACHE"] = _CACHE.name

#: Tests of a package that is not installed here; its example runs them where it is.
collect_ignore = ["examples/acme-robustness"]


def _start_anew() -> None:
    """Let random numbers of torch start anew, if anything has imported it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Give networks that a file of tests makes when it is read the same weights in whatever selection it is run."""
    _start_anew()
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Give every test the same random numbers, alone and among others."""
    _start_anew()


@attrs.frozen
class Shell:
    """Runs commands as a user would, with the programs of one environment first on the path."""

    scripts: Path

    def __call__(self, command: str, folder: Path, **variables: str) -> str:
        """Run a command in a folder and return what it printed; a failure fails the test with all output."""
        path = f"{self.scripts}{os.pathsep}{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "COLUMNS": "200", **variables}
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="session")
def user() -> Shell:
    """Commands in the environment that runs the tests."""
    return Shell(Path(sys.executable).parent)


@pytest.fixture(scope="module")
def fresh_user(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Commands in a new virtual environment that sees the torch and rcframe installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    seen = [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in seen]
    (packages / "parent.pth").write_text("\n".join(lines) + "\n")
    command = folder / "bin" / "rcframe"
    command.write_text(f"#!{folder / 'bin' / 'python'}\nfrom rcframe.cli import main\nmain()\n")
    command.chmod(0o755)
    return Shell(folder / "bin")

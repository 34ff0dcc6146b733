"""The plugin costs nothing where it is not used, and tells nobody where it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

#: By these mlflow knows that it is tested, and holds its tongue.
TESTED = ("PYTEST_CURRENT_TEST", "PYTEST_VERSION", "CI", "GITHUB_ACTIONS", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY")
#: Notes every attempt to reach another machine, and prevents it.
GUARD = """
import socket, sys, time
tried = []

def refuse(*arguments, **more):
    tried.append(str(arguments[-1]))
    raise OSError("no network in this test")

socket.getaddrinfo = socket.create_connection = socket.socket.connect = refuse
"""
RECORDED = """
import rcframe
rcframe.run(
    data="glyphs:size=8,classes=3,train=24,test=12", model="mlp:hidden=4", device="cpu",
    teacher="plain:epochs=1", student="plain:epochs=1", out="run",
)
# Whatever is sent from a thread in the background has been tried by then.
time.sleep(2)
assert "mlflow" in sys.modules
print(tried)
"""


def python(code: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in TESTED}
    home = {"HOME": str(folder / "home"), "XDG_CONFIG_HOME": str(folder / "home" / "config")}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**kept, **home, **more},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_recorded_run_reaches_no_other_machine_and_says_nothing(tmp_path: Path) -> None:
    done = python(GUARD + RECORDED, tmp_path, MLFLOW_TRACKING_URI="sqlite:///runs.db")
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
    assert {path.name for path in tmp_path.iterdir()} >= {"run", "runs.db", "mlruns"}
    assert list(tmp_path.glob("home/**/*mlflow*")) == []


def test_mlflow_is_not_imported_without_a_store(tmp_path: Path) -> None:
    code = (
        "import sys; from rcframe.registry import registry; registry().run_started(registry());"
        "assert any(plugin.distribution == 'rcframe-mlflow' for plugin in registry().plugins);"
        "print('mlflow' in sys.modules)"
    )
    assert python(code, tmp_path, MLFLOW_TRACKING_URI="").stdout == "False\n"

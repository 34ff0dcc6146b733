"""The examples, executed as their README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def commands(heading: str) -> list[str]:
    """The indented commands under a heading of the README."""
    section = (HERE / "README.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^    (\S.*)$", section, flags=re.MULTILINE)


def run(command: str, folder: Path, scripts: Path) -> str:
    """Run a command with `scripts` first on the path, and return what it printed."""
    environment = os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def fresh_environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment that sees the installed torch and rcframe; returns its folder of scripts."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    seen = [path for path in sys.path if path.endswith("site-packages")]
    lines = [f"import site; site.addsitedir({path!r})" for path in seen]
    (packages / "parent.pth").write_text("\n".join(lines) + "\n")
    scripts = folder / "bin"
    command = scripts / "rcframe"
    command.write_text(f"#!{scripts / 'python'}\nfrom rcframe.cli import main\nmain()\n")
    command.chmod(0o755)
    return scripts


@pytest.mark.slow
def test_a_third_partys_plugin_is_installed_and_used_by_name(fresh_environment: Path, tmp_path: Path) -> None:
    install, check, use = commands("A plugin from somebody else")
    (tmp_path / "acme-robustness").symlink_to(HERE / "acme-robustness")
    run(install.replace("pip install", "pip install --no-deps --no-build-isolation"), tmp_path, fresh_environment)
    assert "passed" in run(check, tmp_path, fresh_environment)
    table = run(use.replace("label-smoothing", "label-smoothing:epochs=2"), tmp_path, fresh_environment)
    assert "student: label-smoothing" in table
    assert "blur:width=3 (linf" in table


@pytest.mark.slow
def test_ones_own_model_and_images_through_the_command_line(tmp_path: Path) -> None:
    draw, use = commands("Your own model and your own images")
    for script in (HERE / "own_model_and_images").glob("*.py"):
        (tmp_path / script.name).write_text(script.read_text())
    scripts = Path(sys.executable).parent
    run(draw, tmp_path, scripts)
    table = run(use + " --teacher plain:epochs=5", tmp_path, scripts)
    assert "my_net:build" in table
    assert "pgd (linf" in table


@pytest.mark.slow
def test_four_kinds_compose_in_under_forty_lines() -> None:
    assert len((HERE / "compose.py").read_text().splitlines()) < 40
    (command,) = commands("Several methods from Python")
    lines = run(command, HERE, Path(sys.executable).parent).splitlines()
    assert [line.split()[0] for line in lines] == ["trained", "pruned", "spiking"]
    accuracies = [[int(number) for number in re.findall(r"(\d+)%", line)] for line in lines]
    for clean, attacked, *_ in accuracies:
        assert 90 <= clean <= 100
        assert attacked <= clean

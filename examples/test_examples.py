"""The examples, executed as their README says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
Shell = Callable[..., str]


def commands(heading: str) -> list[str]:
    """The indented commands under a heading of the README."""
    section = (HERE / "README.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^    (\S.*)$", section, flags=re.MULTILINE)


@pytest.mark.slow
def test_a_third_partys_plugin_is_installed_and_used_by_name(fresh_user: Shell, tmp_path: Path) -> None:
    install, check, use = commands("A plugin from somebody else")
    (tmp_path / "acme-robustness").symlink_to(HERE / "acme-robustness")
    fresh_user(install.replace("pip install", "pip install --no-deps --no-build-isolation"), tmp_path)
    assert "passed" in fresh_user(check, tmp_path)
    table = fresh_user(use.replace("smooth-labels", "smooth-labels:epochs=2"), tmp_path)
    assert "student: smooth-labels" in table
    assert "blur:width=3 (linf" in table


@pytest.mark.slow
def test_ones_own_model_and_images_through_the_command_line(user: Shell, tmp_path: Path) -> None:
    draw, use = commands("Your own model and your own images")
    for script in (HERE / "own_model_and_images").glob("*.py"):
        (tmp_path / script.name).write_text(script.read_text())
    user(draw, tmp_path)
    table = user(use + " --teacher plain:epochs=5", tmp_path)
    assert "my_net:build" in table
    assert "pgd (linf" in table


@pytest.mark.slow
def test_four_kinds_compose_in_under_forty_lines(user: Shell) -> None:
    assert len((HERE / "compose.py").read_text().splitlines()) < 40
    (command,) = commands("Several methods from Python")
    lines = user(command, HERE).splitlines()
    assert [line.split()[0] for line in lines] == ["trained", "pruned", "spiking"]
    accuracies = [[int(number) for number in re.findall(r"(\d+)%", line)] for line in lines]
    for clean, attacked, *_ in accuracies:
        assert 90 <= clean <= 100
        assert attacked <= clean

from __future__ import annotations

from pathlib import Path

import pytest
from rcframe_distill import rcframe_components

from rcframe.choice import parse_choice
from rcframe.registry import registry
from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
NAMES = [spec.name for spec in rcframe_components()]


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_lists_every_option_and_preset(name: str) -> None:
    cls = registry().load("student", parse_choice(name, "student"))
    assert f"`{name}`:\n\n{options_table(cls)}" in README
    table = [row.split("|") for row in README.split("## Presets")[1].splitlines() if row.startswith("| `")]
    explained = " ".join(cells[2] for cells in table if f"`{name}`" in cells[1])
    assert all(f"`{preset}`" in explained for preset in cls.presets)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

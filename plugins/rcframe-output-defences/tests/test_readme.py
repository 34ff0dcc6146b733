from __future__ import annotations

from pathlib import Path

import pytest
from rcframe_output_defences.noisy import Noisy
from rcframe_output_defences.rounded import Rounded
from rcframe_output_defences.stingy import Stingy

from rcframe import GuardedTeacher
from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", [Stingy, Noisy, Rounded])
def test_the_readme_lists_every_option(cls: type[GuardedTeacher]) -> None:
    assert options_table(cls) in README


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

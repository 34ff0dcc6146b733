from __future__ import annotations

from pathlib import Path

import pytest
from rcframe_nasty.deepened import Deepened
from rcframe_nasty.teacher import Nasty

from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_option() -> None:
    assert options_table(Nasty) in README
    assert options_table(Deepened) in README


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

from __future__ import annotations

from pathlib import Path

import pytest
from rcframe_skeptical.headed import Headed
from rcframe_skeptical.own_teacher import OwnTeacher
from rcframe_skeptical.student import Skeptical, SkepticalEnsemble

from rcframe import Component
from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", [Skeptical, SkepticalEnsemble, OwnTeacher, Headed])
def test_the_readme_lists_every_option(cls: type[Component]) -> None:
    assert options_table(cls) in README


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

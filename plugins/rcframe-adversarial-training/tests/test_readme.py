from __future__ import annotations

from pathlib import Path

import pytest
from rcframe_adversarial_training.adversarial import AdversarialStudent, AdversarialTeacher
from rcframe_adversarial_training.fast import FastStudent, FastTeacher
from rcframe_adversarial_training.free import FreeStudent, FreeTeacher
from rcframe_adversarial_training.mart import MartStudent, MartTeacher
from rcframe_adversarial_training.trades import TradesStudent, TradesTeacher

from rcframe import Component
from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        (AdversarialTeacher, AdversarialStudent),
        (TradesTeacher, TradesStudent),
        (MartTeacher, MartStudent),
        (FastTeacher, FastStudent),
        (FreeTeacher, FreeStudent),
    ],
)
def test_the_readme_lists_every_option(teacher: type[Component], student: type[Component]) -> None:
    assert options_table(teacher) in README
    assert options_table(student) == options_table(teacher)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

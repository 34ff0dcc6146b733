from __future__ import annotations

from pathlib import Path

import pytest
from rcframe_counterattacks.htc import HTC
from rcframe_counterattacks.scm import SCM

from rcframe import Component
from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("component", [HTC, SCM])
def test_the_readme_lists_every_option(component: type[Component]) -> None:
    assert options_table(component) in README


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

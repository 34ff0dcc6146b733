from __future__ import annotations

import re
from pathlib import Path

import pytest
from rcframe_filter_pruning.pruner import Filters
from torch import nn

from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_option() -> None:
    assert options_table(Filters) in README


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    found: dict[str, nn.Module] = {}
    exec(example, found)
    assert found["small"].get_parameter("0.weight").shape == (6, 1, 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

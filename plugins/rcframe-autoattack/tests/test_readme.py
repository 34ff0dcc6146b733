from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from rcframe_autoattack.apgd import APGDCE, APGDT
from rcframe_autoattack.auto import Auto
from rcframe_autoattack.fab import FABT
from rcframe_autoattack.square import Square

from rcframe import Attack
from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", [Auto, APGDCE, APGDT, FABT, Square])
def test_the_readme_lists_every_option(cls: type[Attack]) -> None:
    assert options_table(cls) in README


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    found: dict[str, torch.Tensor] = {}
    torch.manual_seed(0)
    exec(example, found)
    assert 0 < float((found["x_adv"] - found["x"]).abs().max()) <= 0.1 + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from rcframe_blackbox.hopskipjump import HopSkipJump
from rcframe_blackbox.nes import NES
from rcframe_blackbox.spsa import SPSA

from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("attack", [NES, SPSA, HopSkipJump])
def test_the_readme_lists_every_option(attack: type[NES] | type[SPSA] | type[HopSkipJump]) -> None:
    assert options_table(attack) in README


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    found: dict[str, torch.Tensor] = {}
    exec(example, found)
    assert 0 < float(found["distance"].min()) <= float(found["distance"].max()) < 2


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from rcframe_attacks.bim import BIM
from rcframe_attacks.fgsm import FGM, FGSM
from rcframe_attacks.mim import MIM
from rcframe_attacks.noise import Gaussian, Uniform
from rcframe_attacks.pgd import PGD
from rcframe_attacks.wrappers import EOT, Transfer

from rcframe import Attack
from rcframe.options import options_of
from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("attack", [BIM, MIM, PGD, EOT, Transfer, Uniform, Gaussian])
def test_the_readme_lists_every_option(attack: type[Attack]) -> None:
    assert f"`{attack.__name__.lower()}`:\n\n{options_table(attack)}" in README


def test_single_steps_have_no_options() -> None:
    assert not options_of(FGSM)
    assert not options_of(FGM)


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    found: dict[str, torch.Tensor] = {}
    exec(example, found)
    assert 0 < float((found["x_adv"] - found["x"]).abs().max()) <= 8 / 255 + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

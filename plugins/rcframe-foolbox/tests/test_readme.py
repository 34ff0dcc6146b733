from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from foolbox.attacks.brendel_bethge import BrendelBethgeAttack
from rcframe_foolbox.bridge import Foolbox
from rcframe_foolbox.names import TheirClass, their_classes
from rcframe_foolbox.traits import access_of, looks_for_nearest, norms_of, why_not

from rcframe import Access
from rcframe.testing.readme import commands, options_table, run_command

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
READS = {
    Access.NONE: "nothing",
    Access.LABEL: "labels",
    Access.LOGITS: "logits",
    Access.LOGITS | Access.INPUT_GRAD: "gradients",
}


def classes() -> list[TheirClass]:
    return sorted(set(their_classes().values()), key=lambda cls: cls.__name__)


def usable(cls: TheirClass) -> bool:
    """Say whether an attack can be used where numba is installed."""
    return not why_not(cls) or bool(issubclass(cls, BrendelBethgeAttack) and norms_of(cls))


def attacks_table() -> str:
    rows = [
        f"| `{cls.__name__}` | {', '.join(norms_of(cls))} | {READS[access_of(cls)]} | "
        f"{'yes' if looks_for_nearest(cls) else ''} |"
        for cls in classes()
        if usable(cls)
    ]
    return "\n".join(["| attack | norms | reads | nearest |", "|---|---|---|---|", *rows]) + "\n"


def refusals() -> str:
    reasons: dict[str, list[str]] = {}
    for cls in classes():
        if not usable(cls):
            reasons.setdefault(why_not(cls) or "", []).append(f"`{cls.__name__}`")
    return "\n".join(f"- {', '.join(names)}: {reason}." for reason, names in reasons.items()) + "\n"


def test_the_readme_lists_every_option() -> None:
    assert options_table(Foolbox) in README


def test_the_readme_lists_every_attack_of_foolbox() -> None:
    assert attacks_table() in README
    assert refusals() in README


def test_the_example_runs() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    found: dict[str, torch.Tensor] = {}
    exec(example, found)
    assert 0 < float((found["x_adv"] - found["x"]).abs().max()) <= 8 / 255 + 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    run_command(arguments, tmp_path / "run")

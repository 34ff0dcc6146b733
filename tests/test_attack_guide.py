"""What docs/plugins.md says about attacks is so, and what it shows works."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import attrs
import pytest
import torch

import rcframe
from rcframe.api import Attack
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.threat import Threat
from rcframe.registry import registry
from rcframe.testing import checks_of
from rcframe.testing.toys import some_images, trained_network
from tests.conftest import Announce

GUIDE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")
SECTION = GUIDE.split("## Attacks\n")[1].split("\n## ")[0]
ROW = re.compile(r"^\| `(\w+)` \| ([a-z ]+) \| (.*?) \| .* \|$", flags=re.MULTILINE)
TRAITS = {name: (kind, default) for name, kind, default in ROW.findall(SECTION)}


def block(marker: str) -> str:
    """The fenced block behind a marker."""
    return SECTION.split(f"<!-- {marker} -->")[1].split("```")[1].partition("\n")[2]


@pytest.fixture
def shown(announce: Announce) -> Iterator[types.ModuleType]:
    """A module of both blocks of the guide, whose attacks are announced as `steps` and `best`."""
    module = types.ModuleType("shown_in_the_guide")
    sys.modules[module.__name__] = module
    for text in ("from __future__ import annotations\n" + block("attack"), block("wrapper")):
        # The second block goes on from the first, and takes one name more from where everything is imported from.
        module.__dict__.setdefault("WrappingAttack", rcframe.WrappingAttack)
        exec(compile("from __future__ import annotations\n" + text, module.__name__, "exec"), module.__dict__)
    announce(module.Steps, "steps")
    announce(module.Best, "best")
    yield module
    del sys.modules[module.__name__]


def made(spec: str) -> Attack:
    return cast(Attack, registry().make("attack", spec))


def test_every_trait_of_an_attack_is_in_the_table() -> None:
    own = {name for name in vars(Attack) if not name.startswith("_")} - {"craft", "kind"}
    assert set(TRAITS) == own


@pytest.mark.parametrize("name", TRAITS)
def test_a_trait_is_written_as_the_table_says_and_has_the_default_it_says(name: str) -> None:
    kind, default = TRAITS[name]
    found = vars(Attack)[name]
    plain = attrs.frozen(type("Plain", (Attack,), {"craft": lambda *_: None}))()
    if kind == "method":
        assert isinstance(found, types.FunctionType)
        value = getattr(plain, name)()
        assert default == ("returns `self`" if value is plain else f"returns `{value}`")
    else:
        assert isinstance(found, property) == (kind == "property")
        words = default.strip("`").replace("\\|", "|")
        assert eval(words, {"Access": rcframe.Access}) == getattr(plain, name)


def test_both_attacks_of_the_guide_keep_the_promises_of_their_kind(shown: types.ModuleType) -> None:
    checks = list(checks_of("rcframe-tests"))
    assert {check.title for check in checks} == {"attack steps", "attack best"}
    for check in checks:
        # A module that only this test knows cannot be imported by another process.
        if check.name != "entry_module_is_free_of_torch":
            check()


def test_the_attack_of_the_guide_breaks_images_and_asks_no_more_about_broken_ones(shown: types.ModuleType) -> None:
    model, (x, y) = trained_network(), some_images()
    early, late = Queries(), Queries()
    moved = attack_batch(made("steps"), model, x, y, Threat(0.4), early)
    attack_batch(made("steps").thorough(), model, x, y, Threat(0.4), late)
    assert not bool((model(moved).argmax(dim=1) == y).any())
    assert early.images < late.images == 10 * len(x)


def test_the_wrapper_of_the_guide_takes_an_attack_without_its_name_and_keeps_the_best_try(
    shown: types.ModuleType,
) -> None:
    model, (x, y) = trained_network(), some_images()

    def losses(spec: str) -> torch.Tensor:
        torch.manual_seed(0)
        moved = attack_batch(made(spec), model, x, y, Threat(0.1))
        return torch.nn.functional.cross_entropy(model(moved), y, reduction="none").detach()

    one = "pgd:steps=2,early_stop=false"
    assert made(f"best:{one.split(':')[0]}") == made("best:attack=pgd")
    assert bool((losses(f"best:attack=({one}),tries=5") >= losses(one) - 1e-6).all()), "the first try is the same"
    assert losses(f"best:attack=({one}),tries=5").mean() > losses(one).mean()


def test_specs_of_the_guide_name_attacks_that_it_defines(shown: types.ModuleType) -> None:
    specs = re.findall(r"`(best:[^`]+)`", SECTION)
    assert len(specs) == 2
    assert all(type(made(spec)) is shown.Best for spec in specs)

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rcframe.registry import registry
from rcframe.testing import Recipes, checks_of
from rcframe.testing.suite import RECIPE_CHECKS

if TYPE_CHECKING:
    from tests.conftest import Command, Install

GUIDE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
ANNOUNCES = """
from pathlib import Path

@hookimpl
def rcframe_recipes():
    return [Path(__file__).with_name(name) for name in {names!r}]
"""
GOOD = """
title = "Teachers help"
source = "Doe (2020), table 2"
needs = ["rcframe-distill"]
figures = ["student clean", "teacher fgsm"]

[[claim]]
says = "It helps."
figure = "student clean"
compare = [["taught", "untaught"]]

[small]
seeds = 5
run = { data = "glyphs:size=8,classes=3,train=24,test=60", model = "mlp:hidden=4", attack = "fgsm" }
vary.student = { taught = "kd:epochs=20", untaught = "plain:epochs=20" }

[full]
run = { data = "cifar10", model = "resnet18" }
vary.student = { taught = "kd", untaught = "plain" }
"""
NEEDS = 'needs = ["rcframe-distill", "rcframe-attacks"]'
SOUND = GOOD.replace('needs = ["rcframe-distill"]', NEEDS)


def block(marker: str) -> str:
    """The fenced block of the guide behind a marker."""
    return GUIDE.split(f"<!-- {marker} -->")[1].split("```")[1].partition("\n")[2]


def broken(install: Install, text: str, names: tuple[str, ...] = ("table.toml",)) -> dict[str, str]:
    """Return the promises that a plugin with this recipe breaks, and the first line of what is said of each."""
    site = install("acme", body=ANNOUNCES.format(names=list(names)))
    for name in names:
        (site / name).write_text(text)
    return held(Recipes("acme", "acme"))


def held(recipes: Recipes) -> dict[str, str]:
    found = {}
    for function in RECIPE_CHECKS:
        try:
            function(recipes)
        except Exception as error:
            found[function.__name__.removeprefix("check_recipes_")] = str(error).splitlines()[0]
    return found


def test_a_sound_recipe_keeps_every_promise(install: Install) -> None:
    assert broken(install, SOUND) == {}


def test_what_a_recipe_uses_without_saying_so_is_found(install: Install) -> None:
    found = broken(install, GOOD)
    assert found == {"name_what_they_need": "`acme/table` uses components of rcframe-attacks: add that to `needs`"}


def test_components_of_every_kind_count_as_used(install: Install) -> None:
    parts = 'model = "resnet18", teacher = "nasty", neuron = "lif", pruner = "filters", certifier = "convex" }'
    found = broken(install, SOUND.replace('model = "resnet18" }', parts))
    assert found == {
        "name_what_they_need": "`acme/table` uses components of rcframe-convex, rcframe-filter-pruning, rcframe-nasty, "
        "rcframe-spiking: add that to `needs`"
    }


@pytest.mark.parametrize(
    ("change", "promise", "words"),
    [
        (("title = ", "titel = "), "parse", "The recipe `acme/table` has `titel`. Did you mean `title`?"),
        (('"rcframe-distill"', '"acme-gone"'), "parse", "`acme/table` needs acme-gone, which must be installed"),
        (('model = "resnet18"', 'model = "resnet"'), "can_be_planned", "In the run `taught`: No model named `resnet`."),
        (
            ('model = "resnet18"', 'model = "resnet18", access = "hard"'),
            "can_be_planned",
            "at the full scale of `acme/table`, taught: Student `kd` needs logits",
        ),
        (
            ('"teacher fgsm"]', '"teacher pgd"]'),
            "run_when_shortened",
            "`acme/table` shows teacher pgd, which `taught` does not measure",
        ),
        (
            ('figure = "student clean"', 'figure = "student pgd"'),
            "run_when_shortened",
            "`acme/table` claims what its runs do not measure: student pgd: `taught` is higher than `untaught`",
        ),
        (('attack = "fgsm"', 'attack = "fgsm", budget = 1'), "run_when_shortened", ""),
    ],
)
def test_a_broken_promise_is_found_and_explained(
    change: tuple[str, str], promise: str, words: str, install: Install
) -> None:
    assert change[0] in SOUND
    found = broken(install, SOUND.replace(*change))
    assert promise in found
    assert found[promise].startswith(words)
    assert "are_announced" not in found


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("Table_1.toml",), "`Table_1.toml` is no name of a recipe: lower-case letters, digits, hyphens, `.toml`"),
        (("table.txt",), "`table.txt` is no name of a recipe"),
        ((), "`rcframe_recipes` announces no recipe"),
    ],
)
def test_names_that_nobody_could_type_are_found(names: tuple[str, ...], words: str, install: Install) -> None:
    assert broken(install, SOUND, names)["are_announced"].startswith(words)


def test_a_recipe_that_was_not_packed_is_found(install: Install) -> None:
    install("acme", body=ANNOUNCES.format(names=["table.toml"]))
    found = held(Recipes("acme", "acme"))
    assert found["are_announced"] == "`table.toml` is announced but not there: is it packed with the plugin?"


def test_two_recipes_of_one_name_are_found(install: Install) -> None:
    assert broken(install, SOUND, ("table.toml", "table.toml"))["are_announced"] == (
        "two recipes have one name: table.toml, table.toml"
    )


def test_a_hook_that_fails_is_found(install: Install) -> None:
    install("acme", body="@hookimpl\ndef rcframe_recipes():\n    raise ValueError('no luck')\n")
    assert held(Recipes("acme", "acme"))["are_announced"] == "no luck"


def test_recipes_are_checked_with_the_rest_of_a_plugin(install: Install, cli: Command) -> None:
    broken(install, GOOD)
    names = [check.name for check in checks_of("acme")]
    assert names == [function.__name__.removeprefix("check_") for function in RECIPE_CHECKS]
    outcome = cli("check", "acme")
    assert outcome.code == 3
    assert "passed recipes acme: recipes run when shortened" in outcome.out
    assert "failed recipes acme: recipes name what they need: `acme/table` uses components of" in outcome.out


def test_the_recipe_of_the_guide_keeps_every_promise(install: Install) -> None:
    text = block("recipe")
    site = install("rcframe-my-idea", body=re.sub(r"files\(__name__\) / \"recipes\"", "HERE", _hook()))
    (site / "table-2.toml").write_text(text)
    assert held(Recipes("rcframe-my-idea", "rcframe_my_idea")) == {}
    assert "my-idea/table-2" in [found.name for found in registry().recipes()]
    assert tomllib.loads(text)["published"]


def _hook() -> str:
    return f"from pathlib import Path\nHERE = Path(__file__).parent\n{block('announcing')}"

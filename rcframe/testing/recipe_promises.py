"""Promises of recipes: they can be read and planned where they are installed, and every claim can be judged."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, cast

from rcframe.errors import RequestError, listed
from rcframe.registry import KERNEL, FoundRecipe, registry
from rcframe.testing.subject import Recipes

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from rcframe.experiments.plan import Plan
    from rcframe.experiments.recipe import Recipe, Scale
    from rcframe.session.config import RunConfig

_FILE = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*\.toml")


def check_recipes_are_announced(recipes: Recipes) -> None:
    """The hook names at least one file; each is there, and its name is one that can be typed."""
    announced = [
        file
        for plugin, call in registry().implementations("rcframe_recipes")
        if plugin.distribution == recipes.distribution
        for file in cast("list[Traversable]", call())
    ]
    assert announced, "`rcframe_recipes` announces no recipe"
    names = [PurePath(file.name).name for file in announced]
    assert len(set(names)) == len(names), f"two recipes have one name: {listed(names)}"
    for file, name in zip(announced, names, strict=True):
        assert _FILE.fullmatch(name), f"`{name}` is no name of a recipe: lower-case letters, digits, hyphens, `.toml`"
        assert file.is_file(), f"`{name}` is announced but not there: is it packed with the plugin?"


def check_recipes_parse(recipes: Recipes) -> None:
    """Every recipe can be read: both scales, its figures, and claims about rows that it has."""
    for found in recipes.found:
        _read(found)


def check_recipes_can_be_planned(recipes: Recipes) -> None:
    """Every run of both scales can be built, and its parts fit each other."""
    for recipe in _all(recipes):
        for scale in recipe.scales:
            refused = [run for run in _plan(recipe, scale).runs if run.refusal]
            assert not refused, f"at the {scale} scale of `{recipe.name}`, {refused[0].name}: {refused[0].refusal}"


def check_recipes_name_what_they_need(recipes: Recipes) -> None:
    """`needs` names every other plugin whose components a recipe uses, so that a user is told what to install."""
    for recipe in _all(recipes):
        known = {KERNEL, recipes.distribution, *recipe.needs}
        for scale in recipe.scales:
            missing = sorted({name for run in _plan(recipe, scale).runs for name in _used(run.config)} - known)
            assert not missing, f"`{recipe.name}` uses components of {listed(missing)}: add that to `needs`"


def check_recipes_run_when_shortened(recipes: Recipes) -> None:
    """The small scale of every recipe, with an epoch of each training, ends in a full table and judged claims."""
    from rcframe.experiments.verdicts import judge
    from rcframe.findings.reproduced import beside
    from rcframe.findings.tables import NOTHING
    from rcframe.testing.shortened import carry_out_here, shortened

    for recipe in _all(recipes):
        plan = shortened(_plan(recipe, "small"))
        with tempfile.TemporaryDirectory() as place:
            found = carry_out_here(plan, Path(place))
            judged = judge(recipe, "small", found)
            table = beside(judged, found.groups)
        rows = [row[0] for row in table.rows]
        assert rows == list(dict.fromkeys(run.name for run in plan.runs)), f"`{recipe.name}` shows the rows {rows}"
        for row in table.rows:
            gaps = [figure for figure, cell in zip(judged.figures, row[1::2], strict=True) if cell == NOTHING]
            assert not gaps, f"`{recipe.name}` shows {listed(gaps)}, which `{row[0]}` does not measure"
        for claim in judged.claims:
            for compared in claim.comparisons:
                assert compared.difference, f"`{recipe.name}` claims what its runs do not measure: {compared.words}"


def _used(config: RunConfig) -> Iterator[str]:
    """Yield the distributions of the components of a run."""
    ones = [("data", config.data), ("model", config.model), ("teacher", config.teacher), ("neuron", config.neuron)]
    ones.append(("model", config.student_model))
    several = {"student": config.students, "pruner": config.pruners}
    several |= {"attack": config.attacks, "certifier": config.certifiers}
    chosen = [*ones, *((kind, choice) for kind, choices in several.items() for choice in choices)]
    return (registry().find(kind, choice).distribution for kind, choice in chosen if choice)


def _all(recipes: Recipes) -> Iterator[Recipe]:
    return map(_read, recipes.found)


def _read(found: FoundRecipe) -> Recipe:
    from rcframe.experiments.recipe import read_recipe

    recipe = read_recipe(found)
    if missing := recipe.missing():
        raise RequestError(f"`{recipe.name}` needs {listed(missing)}, which must be installed to check it.")
    return recipe


def _plan(recipe: Recipe, scale: Scale) -> Plan:
    from rcframe.experiments.plan import make_plan

    return make_plan(recipe.scales[scale], seeds=1)

"""The conformance kit: what every plugin promises, as small checks.

In a plugin's tests:

    from rcframe.testing import Check, parametrize_checks

    @parametrize_checks("rcframe-mine")
    def test_conformance(check: Check) -> None:
        check()

In a shell: `rcframe check rcframe-mine`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeVar

from rcframe.errors import RequestError, listed, nearest
from rcframe.registry import Plugin, registry
from rcframe.testing.subject import Check, Recipes, Subject, Watcher

if TYPE_CHECKING:
    from rcframe.registry import Registry

__all__ = ["Check", "Recipes", "Subject", "Watcher", "checks_of", "parametrize_checks"]

F = TypeVar("F", bound=Callable[..., object])


def checks_of(distribution: str) -> Iterator[Check]:
    """Yield every check that applies to an installed plugin: to its components, its watching of runs, its recipes."""
    from rcframe.testing.stand_in import hold
    from rcframe.testing.suite import CHECKS, RECIPE_CHECKS, WATCHER_CHECKS

    plugin = _find(registry(), distribution)
    if plugin.error:
        raise RequestError(f"`{distribution}` failed to load: {plugin.error}.")
    for spec in plugin.specs:
        subject = Subject(plugin.distribution, plugin.module, spec)
        for function in (*CHECKS["any"], *CHECKS[spec.kind]):
            yield Check(_name_of(function), f"{spec.kind} {spec.name}", functools.partial(hold, function, subject))
    if plugin.watches:
        watcher = Watcher(plugin.distribution, plugin.module)
        for promise in WATCHER_CHECKS:
            yield Check(_name_of(promise), f"watcher {plugin.distribution}", functools.partial(promise, watcher))
    if plugin.repeats:
        recipes = Recipes(plugin.distribution, plugin.module)
        for held in RECIPE_CHECKS:
            yield Check(_name_of(held), f"recipes {plugin.distribution}", functools.partial(held, recipes))


def _name_of(function: Callable[..., None]) -> str:
    return function.__name__.removeprefix("check_")


def _find(known: Registry, distribution: str) -> Plugin:
    for plugin in known.plugins:
        if plugin.distribution == distribution:
            return plugin
    names = [plugin.distribution for plugin in known.plugins]
    raise RequestError(
        f"No plugin `{distribution}` is installed.{nearest(distribution, names)} Installed: {listed(names)}."
    )


def parametrize_checks(distribution: str, expected_failures: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Decorate a test with argument `check` to run once per check of a plugin.

    `expected_failures` maps names of checks, such as `student_resumes`, to the reason why they are known to fail.
    """
    import pytest

    known, checks = expected_failures or {}, list(checks_of(distribution))
    if unknown := set(known) - {check.name for check in checks}:
        raise RequestError(
            f"`{distribution}` has no checks {listed(sorted(unknown))}. Its checks: "
            f"{listed(dict.fromkeys(check.name for check in checks))}."
        )
    cases = [
        pytest.param(
            check,
            id=f"{check.title.replace(' ', '-')}-{check.name}",
            marks=[pytest.mark.xfail(reason=known[check.name], strict=True)] if check.name in known else [],
        )
        for check in checks
    ]

    def decorate(test: F) -> F:
        marked: F = pytest.mark.parametrize("check", cases)(test)
        return marked

    return decorate

from __future__ import annotations

import pytest

from rcframe.api import KINDS
from rcframe.testing import (
    engine_promises,
    guard_promises,
    material_promises,
    method_promises,
    promises,
    recipe_promises,
    training_promises,
    trait_promises,
    watcher_promises,
)
from rcframe.testing.suite import CHECKS, RECIPE_CHECKS, WATCHER_CHECKS

MODULES = (
    *(
        promises,
        engine_promises,
        guard_promises,
        material_promises,
        method_promises,
        recipe_promises,
        training_promises,
    ),
    *(trait_promises, watcher_promises),
)
WRITTEN = {
    name: function
    for module in MODULES
    for name, function in vars(module).items()
    if name.startswith("check_") and function.__module__ == module.__name__
}


def test_every_kind_has_checks() -> None:
    assert set(CHECKS) == {"any", *KINDS}
    assert all(CHECKS.values())


def test_every_check_that_is_written_is_run() -> None:
    run = [function for functions in CHECKS.values() for function in functions]
    assert {*run, *WATCHER_CHECKS, *RECIPE_CHECKS} == set(WRITTEN.values())
    assert len(run) == len(set(run))
    assert len(WATCHER_CHECKS) == len(set(WATCHER_CHECKS))
    assert len(RECIPE_CHECKS) == len(set(RECIPE_CHECKS))


@pytest.mark.parametrize("name", WRITTEN)
def test_every_check_says_what_it_promises(name: str) -> None:
    assert (WRITTEN[name].__doc__ or "").strip().endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_checks_of_a_kind_say_so(kind: str) -> None:
    assert all(kind in function.__name__ for function in CHECKS[kind])

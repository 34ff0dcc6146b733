from __future__ import annotations

import importlib
from collections.abc import Callable

import pytest

from rcframe.data.images import DataInfo
from rcframe.models import SPECS
from rcframe.models.base import ZooModel

InfoOf = Callable[[tuple[int, int, int], int], DataInfo]


def zoo() -> dict[str, type[ZooModel]]:
    """The classes of the zoo's own networks by name."""
    found = {}
    for spec in SPECS:
        module, _, name = spec.target.partition(":")
        cls = getattr(importlib.import_module(module), name)
        if issubclass(cls, ZooModel):
            found[spec.name] = cls
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "zoo_model" in metafunc.fixturenames:
        known = zoo()
        metafunc.parametrize("zoo_model", list(known.values()), ids=list(known))


@pytest.fixture
def info_of() -> InfoOf:
    """Make what a network must know of a data set called `toys`, from its shape and number of classes."""

    def make(shape: tuple[int, int, int], classes: int) -> DataInfo:
        means = tuple(0.3 + 0.1 * channel for channel in range(shape[0]))
        return DataInfo("toys", shape, tuple(f"class {k}" for k in range(classes)), means, (0.25,) * shape[0])

    return make

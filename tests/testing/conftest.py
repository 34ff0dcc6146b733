from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from rcframe.api import Component
from rcframe.testing.stand_in import hold
from rcframe.testing.subject import Subject
from rcframe.testing.suite import CHECKS

if TYPE_CHECKING:
    from tests.conftest import Announce


@pytest.fixture
def subject(announce: Announce) -> Callable[[type[Component]], Subject]:
    """Put a component class of a test under check."""
    return lambda cls: Subject("rcframe-tests", cls.__module__, announce(cls, "under-check"))


@pytest.fixture
def broken_promises(subject: Callable[[type[Component]], Subject]) -> Callable[[type[Component]], set[str]]:
    """Name the promises of its kind that a component class breaks, without the word `check` in front."""

    def found(cls: type[Component]) -> set[str]:
        one, broken = subject(cls), set()
        for function in CHECKS[cls.kind]:
            try:
                hold(function, one)
            except Exception:
                broken.add(function.__name__.removeprefix("check_"))
        return broken

    return found

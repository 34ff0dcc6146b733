"""The conformance checks of the kernel."""

from __future__ import annotations

from collections.abc import Callable

from rcframe.testing import parametrize_checks


@parametrize_checks("rcframe-convex")
def test_conformance(check: Callable[[], None]) -> None:
    check()

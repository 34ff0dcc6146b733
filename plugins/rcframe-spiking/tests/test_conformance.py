from __future__ import annotations

from typing import TYPE_CHECKING

from rcframe.testing import parametrize_checks

if TYPE_CHECKING:
    from collections.abc import Callable


@parametrize_checks("rcframe-spiking")
def test_conformance(check: Callable[[], None]) -> None:
    check()

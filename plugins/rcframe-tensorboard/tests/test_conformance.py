from __future__ import annotations

from rcframe.testing import Check, parametrize_checks


@parametrize_checks("rcframe-tensorboard")
def test_conformance(check: Check) -> None:
    check()

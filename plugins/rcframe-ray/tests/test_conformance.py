from __future__ import annotations

import pytest

from rcframe.testing import Check, parametrize_checks


@pytest.mark.usefixtures("instance")
@parametrize_checks("rcframe-ray")
def test_conformance(check: Check) -> None:
    check()

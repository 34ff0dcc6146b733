from __future__ import annotations

from collections.abc import Iterator

import pytest
from rcframe_ray.instance import connected


@pytest.fixture(scope="session")
def instance() -> Iterator[None]:
    """Be connected to an instance of Ray that is started once, since that takes a few seconds."""
    with connected(""):
        yield

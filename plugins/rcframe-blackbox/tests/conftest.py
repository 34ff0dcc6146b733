from __future__ import annotations

import pytest
from torch import Tensor, nn

from rcframe.testing.toys import some_images, trained_network

Labelled = tuple[Tensor, Tensor]


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """A small network that has learned the toy images."""
    return trained_network()


@pytest.fixture(scope="session")
def images() -> Labelled:
    """Toy images (15, 1, 8, 8) and labels (15,)."""
    return some_images(15)

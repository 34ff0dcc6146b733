from __future__ import annotations

import pytest
import torch
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


@pytest.fixture(scope="session")
def smooth() -> nn.Module:
    """A network of four classes in float64 without kinks."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 4)).double().eval()


@pytest.fixture(scope="session")
def smooth_images(smooth: nn.Module) -> Labelled:
    """Images (16, 1, 8, 8) in float64; three of four labels (16,) are what the network sees."""
    x = torch.rand(16, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        y = smooth(x).argmax(dim=1)
    return x, torch.where(torch.arange(16) % 4 == 3, (y + 1) % 4, y)

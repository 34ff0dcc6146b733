from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rcframe.testing.toys import toy_images, trained_network


@pytest.fixture(scope="session")
def network() -> nn.Module:
    """A small network that has learned the toy images, three classes."""
    return trained_network()


@pytest.fixture(scope="session")
def images() -> tuple[Tensor, Tensor]:
    """Toy images (24, 1, 8, 8) and labels (24,), made harder by more noise."""
    batch = toy_images(24, 3).first(24)
    noise = 0.3 * torch.rand(batch.images.shape, generator=torch.Generator().manual_seed(4))
    return (0.7 * batch.images + noise).clamp(0, 1), batch.labels

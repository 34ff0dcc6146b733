"""Proof that a smaller network is the larger one with some channels ignored."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def silence(layer: nn.Module, in_keep: Tensor) -> None:
    """Make a layer ignore all inputs but the given ones."""
    weight = layer.get_parameter("weight")
    ignored = torch.ones(weight.shape[1], dtype=torch.bool, device=weight.device)
    ignored[in_keep] = False
    weight[:, ignored] = 0


@torch.no_grad()
def agree(small: nn.Module, silenced: nn.Module, shape: Sequence[int]) -> bool:
    """Say whether a network without the removed channels does what the large one does when nobody listens to them.

    In float64, on random images (2, *shape), so that neither rounding nor a blank image hides or feigns a difference.
    """
    images = torch.rand(2, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = _outputs(silenced, images)
    try:
        found = _outputs(small, images)
    except RuntimeError:  # a layer that still waits for all channels
        return False
    slack = 1e-9 * float(expected.abs().max()) + 1e-12
    return found.shape == expected.shape and torch.allclose(found, expected, rtol=0, atol=slack, equal_nan=True)


def _outputs(network: nn.Module, images: Tensor) -> Tensor:
    outputs: Tensor = copy.deepcopy(network).cpu().to(images.dtype).eval()(images)
    return outputs

from __future__ import annotations

import pytest
import torch
from rcframe_distill.regressor import later_layers, regressor
from torch import Tensor, nn

from rcframe.testing.toys import CLASSES


@pytest.mark.parametrize(
    ("own", "theirs", "kernel", "out"),
    [
        ((3, 8, 8), (5, 8, 8), (1, 1), (5, 8, 8)),
        ((3, 8, 8), (5, 4, 6), (5, 3), (5, 4, 6)),
        ((3, 4, 4), (5, 8, 8), (1, 1), (5, 4, 4)),
    ],
)
def test_between_maps_it_is_a_convolution_that_leaves_the_teachers_size(
    own: tuple[int, ...], theirs: tuple[int, ...], kernel: tuple[int, int], out: tuple[int, ...]
) -> None:
    built = regressor(own, theirs)
    assert isinstance(built, nn.Conv2d)
    assert built.kernel_size == kernel
    assert tuple(built(torch.rand(2, *own)).shape) == (2, *out)


@pytest.mark.parametrize(("own", "theirs"), [((6,), (4,)), ((2, 3, 3), (4,)), ((6,), (2, 3, 3))])
def test_from_or_to_a_vector_it_is_linear(own: tuple[int, ...], theirs: tuple[int, ...]) -> None:
    outputs = regressor(own, theirs)(torch.rand(2, *own))
    assert tuple(outputs.shape) == (2, torch.Size(theirs).numel())


class Branched(nn.Module):
    """Two ways from the same layer; the one listed last runs first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3)
        self.second = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2))
        self.first = nn.Conv2d(2, 2, 1)
        self.end = nn.Linear(72, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.stem(x)
        outer = self.first(inner)
        logits: Tensor = self.end((outer + self.second(inner)).flatten(1))
        return logits


@pytest.mark.parametrize(
    ("tap", "later"),
    [
        ("stem", {"first", "second.0", "second.1", "end"}),
        ("first", {"second.0", "second.1", "end"}),
        ("second", {"end"}),
        ("end", set()),
    ],
)
def test_what_runs_after_a_layer_is_later_whatever_the_order_of_their_names(tap: str, later: set[str]) -> None:
    network = Branched()
    names = {part: name for name, part in network.named_modules()}
    found = later_layers(network, tap, torch.rand(2, 1, 8, 8))
    assert {names[part] for part in found} == later
    assert not any(part._forward_hooks for part in network.modules())
    assert network.training

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.flag import Kind
from rcframe.evaluation.trust.slopes import gradient_flags
from rcframe.testing.toys import fingerprint, some_images, trained_network
from tests.evaluation.trust.suspects import Around, Decided, Infinite, Quantised, Saturated

X, Y = some_images(64)
THREAT = Threat(0.2)


def kinds(network: nn.Module, x: Tensor = X, y: Tensor = Y) -> list[Kind]:
    return [flag.kind for flag in gradient_flags("student", network, x, y, THREAT)]


class Flat(Around):
    """Passes no gradient for the first images of a batch."""

    def __init__(self, net: nn.Module, count: int) -> None:
        super().__init__(net)
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(torch.cat([x[: self.count].detach(), x[self.count :]]))
        return logits


def test_a_network_that_can_be_climbed_raises_no_flag() -> None:
    assert kinds(trained_network()) == []
    assert kinds(trained_network(), X[:0], Y[:0]) == []


@pytest.mark.parametrize("network", [Quantised, Decided])
def test_what_stops_every_gradient_is_found(network: type[Around]) -> None:
    (flag,) = gradient_flags("student", network(trained_network()), X, Y, THREAT)
    assert flag.kind is Kind.NO_GRADIENT
    assert "is zero at 64 of 64 images that withstood" in flag


@pytest.mark.parametrize(("count", "of", "flagged"), [(1, 64, False), (2, 64, True), (1, 10, False), (2, 10, True)])
def test_one_flat_image_says_nothing(count: int, of: int, flagged: bool) -> None:
    assert bool(kinds(Flat(trained_network(), count), X[:of], Y[:of])) is flagged


def test_saturated_outputs_are_told_from_a_missing_gradient() -> None:
    (flag,) = gradient_flags("student", Saturated(trained_network()), X, Y, Threat(0.5))
    assert flag.kind is Kind.SATURATED
    assert "cross-entropy has no gradient at 64 of 64 images" in flag
    assert "20 steps up differences of logits broke 64 of them" in flag


@pytest.mark.parametrize(("fragile", "flagged"), [(0, False), (1, False), (2, True)])
def test_saturated_outputs_where_nothing_is_left_to_find_are_no_reason(fragile: int, flagged: bool) -> None:
    """Each image is as far from the boundary as its first pixel says: within reach of eps, or not."""

    class Apart(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            ahead = 1e4 * (x[:, 0, 0, 0] - 0.5)
            return torch.stack([ahead, -ahead], dim=1)

    images = torch.full((20, 1, 2, 2), 0.9)
    images[:fragile] = 0.6
    # Cross-entropy has a gradient at these.
    images[10:13] = 0.50005
    assert bool(kinds(Apart(), images, torch.zeros(20, dtype=torch.int64))) is flagged


def test_a_gradient_that_is_no_number_is_told_from_one_that_is_zero() -> None:
    flags = list(gradient_flags("student", Infinite(trained_network()), torch.zeros_like(X), Y, THREAT))
    assert [flag.kind for flag in flags] == [Kind.NO_GRADIENT]
    assert "is not finite at 64 of 64 images" in flags[0]


def test_the_network_is_left_as_it_was() -> None:
    network = trained_network().train()
    before = fingerprint(network)
    with torch.inference_mode():
        kinds(network)
    assert fingerprint(network) == before
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())

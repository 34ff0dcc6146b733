from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rcframe.evaluation.trust.flag import Kind
from rcframe.evaluation.trust.slopes import gradient_flags
from rcframe.testing.toys import fingerprint, some_images, trained_network
from tests.evaluation.trust.suspects import Around, Decided, Infinite, Quantised, Saturated

X, Y = some_images(64)


def kinds(network: nn.Module, x: Tensor = X, y: Tensor = Y) -> list[Kind]:
    return [flag.kind for flag in gradient_flags("student", network, x, y)]


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
    (flag,) = gradient_flags("student", network(trained_network()), X, Y)
    assert flag.kind is Kind.NO_GRADIENT
    assert "is zero at 64 of 64 images that withstood" in flag


@pytest.mark.parametrize(("count", "of", "flagged"), [(1, 64, False), (2, 64, True), (1, 10, False), (2, 10, True)])
def test_one_flat_image_says_nothing(count: int, of: int, flagged: bool) -> None:
    assert bool(kinds(Flat(trained_network(), count), X[:of], Y[:of])) is flagged


def test_saturated_outputs_are_told_from_a_missing_gradient() -> None:
    (flag,) = gradient_flags("student", Saturated(trained_network()), X, Y)
    assert flag.kind is Kind.SATURATED
    assert "cross-entropy has no gradient at 64 of 64 images" in flag


def test_a_gradient_that_is_no_number_is_told_from_one_that_is_zero() -> None:
    flags = list(gradient_flags("student", Infinite(trained_network()), torch.zeros_like(X), Y))
    assert [flag.kind for flag in flags] == [Kind.NO_GRADIENT]
    assert "is not finite at 64 of 64 images" in flags[0]


def test_the_network_is_left_as_it_was() -> None:
    network = trained_network().train()
    before = fingerprint(network)
    with torch.inference_mode():
        kinds(network)
    assert fingerprint(network) == before
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())

from __future__ import annotations

import attrs
import pytest
import torch
from rcframe_attacks.loop import Ascent, accumulated
from rcframe_attacks.objective import cross_entropy
from torch import Tensor, nn

from rcframe import Access, ModelOracle, Threat
from rcframe.api import Norm
from rcframe.evaluation.evaluate import predict

Labelled = tuple[Tensor, Tensor]


def ascent(norm: Norm = "linf", momentum: float | None = None, early_stop: bool = True) -> Ascent:
    eps = 0.12 if norm == "linf" else 1.0
    return Ascent(
        objective=cross_entropy,
        threat=Threat(eps, norm),
        steps=11,
        step=eps / 8,
        momentum=momentum,
        early_stop=early_stop,
    )


def oracle(net: nn.Module) -> ModelOracle:
    return ModelOracle(net, Access.LOGITS | Access.INPUT_GRAD)


@pytest.mark.parametrize("momentum", [None, 0.8])
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("patience", [2, 4, 30])
def test_when_broken_images_leave_the_batch_changes_nothing(
    patience: int, norm: Norm, momentum: float | None, network: nn.Module, images: Labelled
) -> None:
    x, y = images[0].double(), images[1]
    source, usual = oracle(network.double()), ascent(norm, momentum)
    try:
        expected = usual.climb(source, x, x, y)
        found = attrs.evolve(usual, patience=patience).climb(source, x, x, y)
    finally:
        network.float()
    assert torch.allclose(found, expected, atol=1e-9)
    moved = (expected != x).flatten(1).any(1)
    assert bool(moved.any())


def test_waiting_to_drop_images_costs_queries_only_until_they_leave(network: nn.Module, images: Labelled) -> None:
    asked = []
    for patience in (1, 4, 30):
        source = oracle(network)
        attrs.evolve(ascent(), patience=patience).climb(source, images[0], *images)
        asked.append(source.queries.gradient_images)
    assert asked[0] < asked[1] < asked[2] == 11 * len(images[0])


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("momentum", [None, 1.0])
def test_pieces_of_a_batch_climb_as_the_batch_does(
    norm: Norm, momentum: float | None, network: nn.Module, images: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = images[0].double(), images[1]
    source = oracle(network.double())
    try:
        expected = ascent(norm, momentum).climb(source, x, x, y)
        calls = source.queries.calls
        monkeypatch.setattr("rcframe_attacks.loop.NUMBERS_AT_ONCE", 64 * 17)
        found = ascent(norm, momentum).climb(source, x, x, y)
    finally:
        network.float()
    assert source.queries.calls > 2 * calls
    assert torch.allclose(found, expected, atol=1e-9)


def test_whoever_wants_every_step_is_given_whole_batches(
    network: nn.Module, images: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rcframe_attacks.loop.NUMBERS_AT_ONCE", 64)
    source = oracle(network)
    ascent(early_stop=False).climb(source, images[0], *images)
    assert source.queries.calls == 11


def test_a_batch_of_wrong_images_is_looked_at_once(network: nn.Module, images: Labelled) -> None:
    x = images[0]
    source = oracle(network)
    found = ascent().climb(source, x, x, (predict(network, x) + 1) % 3)
    assert torch.equal(found, x)
    assert source.queries.images == len(x)


def test_momentum_is_the_one_computed_by_hand() -> None:
    velocity = torch.tensor([[1.0, -1.0], [0.5, 0.0]])
    gradient = torch.tensor([[3.0, 1.0], [0.0, 0.0]])
    expected = torch.tensor([[0.5 + 0.75, -0.5 + 0.25], [0.25, 0.0]])
    assert torch.equal(accumulated(velocity, gradient, 0.5), expected)


class Cliff(nn.Module):
    """Fine on most images; where the first pixel is bright, the gradient is no number."""

    def forward(self, x: Tensor) -> Tensor:
        pixel = x.flatten(1)[:, :1]
        bad = (pixel - pixel.detach() + (pixel <= 0.9)).sqrt()
        rest = x.flatten(1).sum(1, keepdim=True)
        return torch.cat([2 - rest + bad, rest], 1)


@pytest.mark.parametrize("momentum", [None, 1.0])
def test_a_gradient_that_is_no_number_moves_its_own_image_nowhere_and_harms_no_other(momentum: float | None) -> None:
    x = torch.tensor([0.95, 0.02, 0.3, 0.03]).view(2, 1, 1, 2)
    one = attrs.evolve(ascent(momentum=momentum), threat=Threat(0.01), step=0.005)
    found = one.climb(oracle(Cliff()), x, x, torch.zeros(2, dtype=torch.long))
    assert bool(found.isfinite().all())
    assert torch.allclose(found[1], x[1] + 0.01)

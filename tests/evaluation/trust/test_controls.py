from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack, Norm
from rcframe.evaluation.crafting import Faults, attack_batch
from rcframe.evaluation.oracle import ModelOracle, Queries
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.controls import Climb, RandomCorners, RandomSearch, gradient, margins, other_odds
from rcframe.testing.toys import some_images, trained_network
from rcframe.training.randomness import seeded

CONTROLS = [RandomCorners(), Climb(), Climb(steps=1), Climb().thorough(), RandomSearch()]


def linear(weights: Tensor, bias: float) -> nn.Module:
    """Two classes; class 0 is ahead by `bias` less the weighted sum of how far pixels are above a half."""
    layer = nn.Linear(weights.numel(), 2)
    with torch.no_grad():
        layer.weight[0], layer.weight[1] = -weights / 2, weights / 2
        layer.bias.copy_(torch.tensor([bias, -bias]) / 2 + layer.weight @ torch.full((weights.numel(),), -0.5))
    return nn.Sequential(nn.Flatten(), layer)


GREY = torch.full((8, 1, 2, 2), 0.5)
ZEROS = torch.zeros(8, dtype=torch.int64)
WEIGHTS = torch.tensor([1.0, -2.0, 3.0, 0.0])


@pytest.mark.parametrize("control", CONTROLS, ids=str)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.7)])
def test_controls_stay_inside_the_threat_by_themselves(control: Attack, norm: Norm, eps: float) -> None:
    (x, y), faults = some_images(), Faults()
    moved = attack_batch(control, trained_network(), x, y, Threat(eps, norm), faults=faults)
    assert (faults.outside, faults.broken) == (0, 0)
    assert not torch.equal(moved, x) or isinstance(control, RandomCorners)


@pytest.mark.parametrize(
    ("control", "images", "with_gradient"),
    [
        (RandomCorners(draws=5), 5 * 12, 0),
        (Climb(steps=7).thorough(), 7 * 12, 7 * 12),
        (Climb(steps=1), 12, 12),
        (RandomSearch(tries=9), (1 + 9) * 12, 0),
    ],
    ids=str,
)
def test_controls_ask_no_more_than_they_say(control: Attack, images: int, with_gradient: int) -> None:
    (x, y), queries = some_images(), Queries()
    attack_batch(control, trained_network(), x, y, Threat(0.01), queries)
    assert (queries.images, queries.gradient_images) == (images, with_gradient)


def test_one_step_is_as_long_as_eps_along_the_gradient() -> None:
    """The margin of a linear network falls by eps times the norm that belongs to the threat's."""
    network = linear(WEIGHTS, 10.0)
    for threat, fall in [(Threat(0.1), 0.1 * 6), (Threat(0.1, "l2"), 0.1 * math.sqrt(14))]:
        moved = attack_batch(Climb(steps=1), network, GREY, ZEROS, threat)
        assert torch.allclose(margins(network(moved), ZEROS), torch.full((8,), 10 - fall), atol=1e-5)


@pytest.mark.parametrize("steps", [2, 20, 40])
def test_a_climb_reaches_the_best_point_of_a_linear_network(steps: int) -> None:
    network = linear(WEIGHTS, 10.0)
    moved = attack_batch(Climb(steps=steps), network, GREY, ZEROS, Threat(0.1))
    assert torch.allclose(margins(network(moved), ZEROS), torch.full((8,), 10 - 0.6), atol=1e-5)


def test_a_climb_stops_at_the_first_mistake_and_a_thorough_one_does_not() -> None:
    network = linear(WEIGHTS, 0.3)
    stopped = attack_batch(Climb(), network, GREY, ZEROS, Threat(0.2))
    onwards = attack_batch(Climb().thorough(), network, GREY, ZEROS, Threat(0.2))
    assert (margins(network(stopped), ZEROS) < 0).all()
    assert (margins(network(stopped), ZEROS) > -0.3).all()
    assert torch.allclose(margins(network(onwards), ZEROS), torch.full((8,), 0.3 - 1.2), atol=1e-5)


def test_a_climb_does_not_lose_its_way_where_cross_entropy_underflows() -> None:
    """Margins of 3000, of which one step takes away 1800."""
    network = linear(1e4 * WEIGHTS, 3000.0)
    moved = attack_batch(Climb(steps=1), network, GREY, ZEROS, Threat(0.03))
    assert torch.allclose(margins(network(moved), ZEROS), torch.full((8,), 1200.0), rtol=1e-3)


def test_corners_are_as_far_as_possible_and_only_mistakes_are_kept() -> None:
    network = linear(WEIGHTS, 0.5)
    with seeded(0, "corners"):
        moved = attack_batch(RandomCorners(), network, GREY, ZEROS, Threat(0.1))
    wrong = margins(network(moved), ZEROS) < 0
    # A draw reaches 0.6, and breaks the image, with probability 1/8 (three signs of four count).
    assert wrong.any()
    assert torch.allclose((moved - GREY)[wrong].abs(), torch.tensor(0.1))
    assert torch.equal(moved[~wrong], GREY[~wrong])
    nowhere = attack_batch(RandomCorners(), linear(WEIGHTS, 0.61), GREY, ZEROS, Threat(0.1))
    assert torch.equal(nowhere, GREY)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(["linf", "l2"]), st.integers(0, 1000))
def test_a_search_never_raises_the_margin(norm: Norm, seed: int) -> None:
    x, y = some_images()
    network = trained_network()
    with seeded(seed, "search"):
        moved = attack_batch(RandomSearch(tries=5), network, x, y, Threat(0.1, norm))
    assert bool((margins(network(moved), y) <= margins(network(x), y) + 1e-5).all())


def test_a_search_comes_close_to_the_best_point_without_any_gradient() -> None:
    class Rounded(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = network((x * 1000).round() / 1000)
            return logits

    network = linear(WEIGHTS, 10.0)
    with seeded(0, "search"):
        for threat, most in [(Threat(0.1), 0.6), (Threat(0.1, "l2"), 0.1 * math.sqrt(14))]:
            moved = attack_batch(RandomSearch(), Rounded(), GREY, ZEROS, threat)
            assert bool((10 - margins(network(moved), ZEROS) > 0.9 * most).all())


def test_objectives_by_hand() -> None:
    logits, y = torch.tensor([[1.0, 3.0, 2.0], [5.0, 1.0, 1.0]]), torch.tensor([1, 1])
    assert margins(logits, y).tolist() == [1.0, -4.0]
    expected = [math.log(math.exp(1) + math.exp(2)) - 3, math.log(math.exp(5) + math.exp(1)) - 1]
    assert other_odds(logits, y).tolist() == pytest.approx(expected)


def test_what_does_not_depend_on_the_images_has_no_gradient() -> None:
    x = torch.rand(2, 1, 2, 2, requires_grad=True)
    parameter = torch.ones(2, requires_grad=True)
    assert torch.equal(gradient(torch.ones(2), x), torch.zeros_like(x))
    assert torch.equal(gradient(2 * parameter, x), torch.zeros_like(x))
    assert torch.equal(gradient(3 * x.flatten(1).sum(dim=1), x), torch.full_like(x, 3))


def test_controls_never_ask_for_more_than_they_declare() -> None:
    x, y = some_images()
    for control in CONTROLS:
        oracle = ModelOracle(trained_network(), control.access | Access.LABEL)
        control.craft(oracle, x, y, Threat(0.01))

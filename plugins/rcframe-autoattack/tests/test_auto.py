from __future__ import annotations

import logging
import random

import numpy as np
import pytest
import torch
from pyautoattack import AutoAttack
from rcframe_autoattack.apgd import APGDCE
from rcframe_autoattack.auto import Auto
from torch import Tensor, nn

from rcframe import Attack, Queries, Threat
from rcframe.api import Norm
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.training.randomness import seeded

Labelled = tuple[Tensor, Tensor]
NORMS: tuple[Norm, ...] = ("linf", "l2")


def wide_network(classes: int) -> nn.Module:
    """A network whose classes all occur: what images have in common does not reach its hidden layer."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, classes)).requires_grad_(False)
    for weight in (net.get_parameter("1.weight"), net.get_parameter("3.weight")):
        weight.sub_(weight.mean(dim=1, keepdim=True))
    return net


def many_images(count: int) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def ours(attack: Attack, net: nn.Module, x: Tensor, y: Tensor, eps: float, norm: Norm) -> float:
    with seeded(0):
        return float((predict(net, attack(net, x, y, eps=eps, norm=norm)) == y).float().mean())


def theirs(net: nn.Module, x: Tensor, y: Tensor, eps: float, norm: Norm, classes: int, queries: int) -> float:
    attack = AutoAttack(net, norm="Linf" if norm == "linf" else "L2", eps=eps, seed=0)
    attack.apgd_targeted.n_target_classes = attack.fab.n_target_classes = min(9, classes - 1)
    attack.square.n_queries = queries
    x_adv, _ = attack.run_standard_evaluation(x, y)
    return float((predict(net, x_adv) == y).float().mean())


@pytest.mark.slow
@pytest.mark.parametrize("classes", [4, 6, 12])
@pytest.mark.parametrize("norm", NORMS)
def test_robust_accuracy_is_the_package_s_own(norm: Norm, classes: int) -> None:
    net, x = wide_network(classes), many_images(200)
    y, eps = predict(net, x), {"linf": 0.03, "l2": 0.2}[norm]
    measured = ours(Auto(queries=200), net, x, y, eps, norm)
    assert 0.1 < measured < 0.9
    assert measured == pytest.approx(theirs(net, x, y, eps, norm, classes, 200), abs=0.005)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 3])
def test_with_fewer_classes_than_its_loss_needs_it_finds_at_least_what_its_parts_find(norm: Norm, classes: int) -> None:
    net, x = wide_network(classes), many_images(60)
    y, eps = predict(net, x), {"linf": 0.06, "l2": 0.4}[norm] * (2 if classes == 2 else 1)
    alone = ours(APGDCE(steps=40), net, x, y, eps, norm)
    assert 0.1 < alone < 0.9
    assert ours(Auto(steps=40, queries=50), net, x, y, eps, norm) <= alone


def test_later_attacks_see_only_images_that_stand(network: nn.Module, images: Labelled) -> None:
    x, y = images
    right = predict(network, x) == y
    counts = {}
    for eps in (1e-4, 0.12):
        queries = Queries()
        with seeded(0):
            attack_batch(Auto(steps=10, queries=50), network, x[right], y[right], Threat(eps), queries)
        counts[eps] = queries
    n = int(right.sum())
    # One answer for all; uphill 1 + 11; towards two classes 1 + 2 (1 + 11); fab 1 + 2 (2 + 2 * 10 + 1); 53 squares.
    assert counts[1e-4].images == n * (1 + 12 + 25 + 1 + 2 * 23 + 53)
    assert counts[0.12].images < 0.8 * counts[1e-4].images


def test_images_that_are_wrong_already_cost_one_answer(network: nn.Module, images: Labelled) -> None:
    x, y = images[0], (predict(network, images[0]) + 1) % 3
    queries = Queries()
    assert torch.equal(attack_batch(Auto(), network, x, y, Threat(0.1), queries), x)
    assert queries == Queries(len(x), 0, 1)


def test_what_is_returned_is_unmoved_or_misclassified_within_the_threat(network: nn.Module, images: Labelled) -> None:
    x, y = images
    for norm in NORMS:
        eps = {"linf": 0.12, "l2": 0.8}[norm]
        threat = Threat(eps, norm)
        found = Auto(steps=15, queries=40)(network, x, y, eps=eps, norm=norm)
        moved = (found != x).flatten(1).any(1)
        assert 5 < int(moved.sum()) < 55
        assert bool((predict(network, found) != y)[moved].all())
        assert float(threat.distance(found, x).max()) <= eps * (1 + 1e-5)


def test_the_rest_of_the_process_notices_nothing(
    network: nn.Module, images: Labelled, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = list(logging.getLogger().handlers)
    torch.manual_seed(0)
    torch.randint(2**31 - 1, (1,))
    expected = torch.get_rng_state()
    states = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    torch.manual_seed(0)
    Auto(version="plus", steps=3, queries=3)(network, *images, eps=0.1)
    assert torch.equal(torch.get_rng_state(), expected)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states  # type: ignore[index]
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")


def test_plus_is_at_least_as_strong_as_standard_and_follows_it() -> None:
    net, x = wide_network(5), many_images(40)
    y = predict(net, x)
    standard = Auto(steps=10, queries=20)
    plus = standard.stronger()
    assert plus == Auto(version="plus", steps=10, queries=20)
    assert plus.stronger() is None
    assert ours(plus, net, x, y, 0.03, "linf") <= ours(standard, net, x, y, 0.03, "linf") + 0.025


class Noisy(nn.Module):
    """A network whose every answer is off at random."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x + 0.02 * torch.randn_like(x))
        return logits


def test_for_models_that_answer_at_random_two_attacks_average_twenty_gradients() -> None:
    net, x = wide_network(5), many_images(10)
    y, queries = predict(net, x), Queries()
    with seeded(0):
        attack_batch(Auto(version="rand", steps=3), net, x, y, Threat(1e-5), queries)
    assert queries.gradient_images == 2 * 20 * 4 * 10
    noisy = Noisy(net)
    assert ours(Auto(version="rand", steps=10), noisy, x, y, 0.2, "linf") < 0.3

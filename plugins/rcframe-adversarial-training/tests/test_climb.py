from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_adversarial_training.climb import (
    NOISE,
    Climb,
    confusion_with,
    divergence_from,
    others,
)
from torch import Tensor, nn

from rcframe import Access, ModelOracle, Threat, kl_divergence

LINF, L2 = Threat(0.1), Threat(1.0, "l2")
Images = tuple[Tensor, Tensor]


def crafted(climb: Climb, network: nn.Module, images: Images, threat: Threat) -> Tensor:
    torch.manual_seed(0)
    return climb.craft(ModelOracle(network, Climb.access), *images, threat)


def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return F.cross_entropy(network(x), y, reduction="none")


# -- the objectives


def test_confusion_by_hand() -> None:
    # log(e^0 + e^1) - 2 and log(e^0 + e^2) - 1.
    z = torch.tensor([[2.0, 0.0, 1.0]]).repeat(2, 1)
    expected = (math.log(1 + math.e) - 2) + (math.log(1 + math.e**2) - 1)
    assert float(confusion_with(torch.tensor([0, 2]))(z)) == pytest.approx(expected, abs=1e-6)
    assert others(z, torch.tensor([0, 2])).tolist() == [[-math.inf, 0, 1], [2, 0, -math.inf]]


@given(st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_confusion_climbs_where_cross_entropy_climbs(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = (3 * torch.randn(4, 5, generator=generator, dtype=torch.float64)).requires_grad_(True)
    y = torch.arange(4)
    (ours,) = torch.autograd.grad(confusion_with(y)(z), z)
    (theirs,) = torch.autograd.grad(F.cross_entropy(z, y, reduction="sum"), z)
    assert torch.allclose(F.normalize(ours), F.normalize(theirs))


def test_confusion_has_a_direction_where_cross_entropy_underflows() -> None:
    z = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(confusion_with(torch.tensor([0]))(z), z)
    assert gradient.tolist() == [[-1, 1]]


def test_divergence_is_that_from_the_answers_which_stand_still() -> None:
    torch.manual_seed(0)
    answers, z = torch.randn(4, 3), torch.randn(4, 3, requires_grad=True)
    found = divergence_from(answers.requires_grad_(True))(z)
    assert torch.allclose(found, 4 * kl_divergence(answers, z, 1.0))
    (gradient,) = torch.autograd.grad(found, z)
    assert torch.allclose(gradient, z.softmax(1) - answers.softmax(1), atol=1e-6)
    assert not divergence_from(answers)(z.detach()).requires_grad


# -- the steps


@pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)
@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_climbing_from_the_labels_raises_every_loss(
    start: str, threat: Threat, network: nn.Module, images: Images
) -> None:
    moved = crafted(Climb(start=start), network, images, threat)  # type: ignore[arg-type]  # one of the two
    assert (loss(network, moved, images[1]) > loss(network, *images)).all()
    assert float(threat.distance(moved, images[0]).max()) <= threat.eps * (1 + 1e-5)
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1


def test_climbing_from_the_answers_parts_them_and_needs_no_label(network: nn.Module, images: Images) -> None:
    x, y = images
    climb = Climb(start="gaussian", away_from="answers")
    moved = crafted(climb, network, images, LINF)
    torch.manual_seed(0)
    noisy = x + NOISE * torch.randn_like(x)
    with torch.no_grad():
        near, far = (kl_divergence(network(x), network(each), 1.0) for each in (noisy, moved))
    assert float(far) > 100 * float(near)
    assert torch.equal(moved, crafted(climb, network, (x, torch.zeros_like(y)), LINF))


def test_half_precision_does_not_round_the_way_away_from_the_answers(network: nn.Module, images: Images) -> None:
    climb = Climb(start="gaussian", away_from="answers")
    whole = crafted(climb, network, images, LINF)
    with torch.autocast("cpu", torch.bfloat16):
        half = crafted(climb, network, images, LINF)
    assert torch.equal(half, whole)


def test_on_a_linear_network_two_classes_are_confused_as_far_as_the_threat_allows() -> None:
    last = nn.Linear(64, 2)
    network, x, y = nn.Sequential(nn.Flatten(), last), torch.full((3, 1, 8, 8), 0.5), torch.tensor([0, 1, 0])
    moved = crafted(Climb(steps=10), network, (x, y), LINF)
    pull = last.weight.detach()[1 - y] - last.weight.detach()[y]
    assert torch.allclose(moved, x + LINF.eps * pull.sign().view_as(x))


def test_a_step_is_a_quarter_of_the_radius_unless_it_is_given(network: nn.Module, images: Images) -> None:
    torch.manual_seed(0)
    noisy = LINF.project(images[0] + NOISE * torch.randn_like(images[0]), images[0])
    for climb, length in (
        (Climb(steps=1, start="gaussian"), 0.025),
        (Climb(steps=1, step_size=0.01, start="gaussian"), 0.01),
    ):
        moved = crafted(climb, network, images, LINF)
        assert float((moved - noisy).abs().max()) == pytest.approx(length, abs=1e-6)


def test_it_asks_once_per_step_and_once_for_answers(network: nn.Module, images: Images) -> None:
    for climb, calls in ((Climb(steps=3), 3), (Climb(steps=3, away_from="answers"), 4)):
        oracle = ModelOracle(network, Access.LOGITS | Access.INPUT_GRAD)
        climb.craft(oracle, *images, LINF)
        assert oracle.queries.calls == calls
        assert oracle.queries.gradient_images == 3 * len(images[0])

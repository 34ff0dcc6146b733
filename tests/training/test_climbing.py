from __future__ import annotations

import math
from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.evaluation.oracle import ModelOracle
from rcframe.evaluation.threat import Threat
from rcframe.testing.toys import CLASSES, toy_images, trained_network
from rcframe.training.climbing import Climb, away_from_answers, away_from_labels
from rcframe.training.losses import kl_divergence

LINF, L2 = Threat(0.1), Threat(1.0, "l2")
SEEDS = st.integers(0, 1000)
Images = tuple[Tensor, Tensor]
Start = Literal["uniform", "gaussian"]


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_network()


@pytest.fixture(scope="module")
def images() -> Images:
    """Toy images, made harder by more noise, and their labels."""
    batch = toy_images(60, 3).first(60)
    noise = 0.3 * torch.rand(batch.images.shape, generator=torch.Generator().manual_seed(4))
    return (0.7 * batch.images + noise).clamp(0, 1), batch.labels


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def crafted(climb: Climb, network: nn.Module, images: Images, threat: Threat) -> Tensor:
    torch.manual_seed(0)
    return climb.craft(ModelOracle(network, Climb.access), *images, threat)


def answered(network: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = network(x)
    return found


def loss(network: nn.Module, x: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(answered(network, x), target, reduction="none")


# -- what is climbed


def test_what_gets_away_from_labels_by_hand() -> None:
    # log(e^0 + e^1) - 2 and log(e^0 + e^2) - 1.
    z = torch.tensor([[2.0, 0.0, 1.0]], dtype=torch.float64).repeat(2, 1)
    expected = (math.log(1 + math.e) - 2) + (math.log(1 + math.e**2) - 1)
    assert float(away_from_labels(torch.tensor([0, 2]))(z)) == pytest.approx(expected, abs=1e-12)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_away_from_labels_is_the_direction_of_cross_entropy(seed: int) -> None:
    z, y = logits(seed).requires_grad_(True), torch.arange(4)
    (ours,) = torch.autograd.grad(away_from_labels(y)(z), z)
    (theirs,) = torch.autograd.grad(F.cross_entropy(z, y, reduction="sum"), z)
    assert torch.allclose(F.normalize(ours), F.normalize(theirs))


def test_away_from_labels_has_a_direction_where_cross_entropy_underflows() -> None:
    z = torch.tensor([[1000.0, 0.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(away_from_labels(torch.tensor([0]))(z), z)
    assert gradient.tolist() == [[-1, 1]]


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_away_from_answers_is_the_direction_of_the_divergence_from_them(seed: int) -> None:
    z, q = logits(seed).requires_grad_(True), logits(seed + 1).requires_grad_(True).softmax(1)
    (ours,) = torch.autograd.grad(away_from_answers(q)(z), z)
    (theirs,) = torch.autograd.grad(F.kl_div(z.log_softmax(1), q.detach(), reduction="sum"), z)
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    assert not away_from_answers(q)(z.detach()).requires_grad, "the answers stand still"


def test_answers_may_rule_classes_out() -> None:
    z = torch.zeros(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(away_from_answers(torch.tensor([[0.5, 0.5, 0.0]]))(z), z)
    assert gradient.flatten().tolist() == pytest.approx([1 / 3 - 1 / 2, 1 / 3 - 1 / 2, 1 / 3])


# -- the steps


@pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)
@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_climbing_from_the_labels_raises_every_loss_inside_the_threat(
    start: Start, threat: Threat, network: nn.Module, images: Images
) -> None:
    moved = crafted(Climb(start=start), network, images, threat)
    assert (loss(network, moved, images[1]) > loss(network, *images)).all()
    assert float(threat.distance(moved, images[0]).max()) <= threat.eps * (1 + 1e-5)
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1


def test_climbing_from_its_own_answers_parts_them_and_needs_no_label(network: nn.Module, images: Images) -> None:
    x, y = images
    climb = Climb(start="gaussian", away_from="answers")
    moved = crafted(climb, network, images, LINF)
    torch.manual_seed(0)
    noisy = x + 1e-3 * torch.randn_like(x)
    near, far = (kl_divergence(answered(network, x), answered(network, each), 1.0) for each in (noisy, moved))
    assert float(far) > 100 * float(near)
    assert torch.equal(moved, crafted(climb, network, (x, torch.zeros_like(y)), LINF))


def test_climbing_from_answers_that_are_given_raises_the_loss_towards_them(network: nn.Module, images: Images) -> None:
    x, y = images
    given_answers = torch.randn(len(x), CLASSES, generator=torch.Generator().manual_seed(1))
    given_answers[:, 2] = -math.inf
    climb = Climb(steps=5, away_from=given_answers)
    moved = crafted(climb, network, images, LINF)
    assert (loss(network, moved, given_answers.softmax(1)) > loss(network, x, given_answers.softmax(1))).all()
    assert torch.equal(moved, crafted(climb, network, (x, torch.zeros_like(y)), LINF))


def test_own_answers_that_are_given_are_got_away_from_as_if_they_were_asked_for(
    network: nn.Module, images: Images
) -> None:
    own = crafted(Climb(away_from="answers"), network, images, LINF)
    assert torch.allclose(crafted(Climb(away_from=answered(network, images[0])), network, images, LINF), own, atol=1e-6)


def test_half_precision_does_not_round_the_way_away_from_the_answers(network: nn.Module, images: Images) -> None:
    climb = Climb(start="gaussian", away_from="answers")
    whole = crafted(climb, network, images, LINF)
    with torch.autocast("cpu", torch.bfloat16):
        half = crafted(climb, network, images, LINF)
    assert torch.equal(half, whole)


def test_on_a_linear_network_two_classes_are_confused_as_far_as_the_threat_allows() -> None:
    torch.manual_seed(0)
    last = nn.Linear(64, 2)
    x, y = torch.full((3, 1, 8, 8), 0.5), torch.tensor([0, 1, 0])
    moved = crafted(Climb(steps=10), nn.Sequential(nn.Flatten(), last), (x, y), LINF)
    pull = last.weight.detach()[1 - y] - last.weight.detach()[y]
    assert torch.allclose(moved, x + LINF.eps * pull.sign().view_as(x))


def test_a_step_is_a_quarter_of_the_radius_unless_it_is_given() -> None:
    """On a linear network all steps go the same way, so after n of them the image is n lengths from its start."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    images = torch.full((1, 1, 8, 8), 0.5), torch.tensor([0])
    for steps, given_size, length in ((2, None, 0.025), (2, 0.01, 0.01), (1, None, 0.025)):
        moved = crafted(Climb(steps=steps, step_size=given_size, start="gaussian"), network, images, LINF)
        assert float((moved - images[0]).abs().mean()) == pytest.approx(steps * length, abs=5e-4)


@pytest.mark.parametrize(
    ("start", "threat"),
    [("uniform", LINF), ("uniform", L2), ("gaussian", LINF)],
    ids=["uniform linf", "uniform l2", "gaussian"],
)
def test_steps_start_at_random_where_they_are_told_to(start: Start, threat: Threat, network: nn.Module) -> None:
    """Steps that go nowhere leave every image where they started."""
    images = torch.full((200, 1, 8, 8), 0.5), torch.zeros(200).long()
    moved = crafted(Climb(steps=1, step_size=1e-9, start=start), network, images, threat)
    distance = threat.distance(moved, images[0])
    if start == "gaussian":
        assert float((moved - images[0]).std()) == pytest.approx(1e-3, rel=0.05)
    elif threat is LINF:
        assert float((moved - images[0]).abs().mean()) == pytest.approx(threat.eps / 2, rel=0.05)
    else:
        # In 64 dimensions the expected radius of a uniform point is 64/65 of the ball's.
        assert float(distance.mean()) == pytest.approx(64 / 65, rel=0.01)
        assert float(distance.max()) <= 1 + 1e-6


@pytest.mark.parametrize(("away_from", "calls"), [("labels", 3), ("answers", 4), (torch.zeros(60, CLASSES), 3)])
def test_it_asks_once_per_step_and_once_for_its_own_answers(
    away_from: Literal["labels", "answers"] | Tensor, calls: int, network: nn.Module, images: Images
) -> None:
    oracle = ModelOracle(network, Access.LOGITS | Access.INPUT_GRAD)
    Climb(steps=3, away_from=away_from).craft(oracle, *images, LINF)
    assert oracle.queries.calls == calls
    assert oracle.queries.gradient_images == 3 * len(images[0])


def test_what_it_is_says_what_it_gets_away_from_and_nothing_of_one_batch() -> None:
    described = repr(Climb(steps=3, away_from=torch.zeros(2, 3)))
    assert described == repr(Climb(steps=3, away_from=torch.ones(4, 3)))
    assert len({described, repr(Climb(steps=3)), repr(Climb(steps=3, away_from="answers")), repr(Climb(steps=4))}) == 4

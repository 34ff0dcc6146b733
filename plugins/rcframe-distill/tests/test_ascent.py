from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_distill.ascent import Ascent, Start, away_from_answers, away_from_labels
from torch import Tensor, nn

from rcframe import ModelOracle, Threat
from rcframe.testing.toys import CLASSES, some_images

LINF, L2 = Threat(0.1), Threat(1.0, "l2")
SEEDS = st.integers(0, 1000)


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def crafted(ascent: Ascent, network: nn.Module, threat: Threat) -> Tensor:
    torch.manual_seed(0)
    return ascent.craft(ModelOracle(network, Ascent.access), *some_images(), threat)


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


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_away_from_answers_is_the_direction_of_the_divergence_from_them(seed: int) -> None:
    z, answers = logits(seed).requires_grad_(True), logits(seed + 1).requires_grad_(True)
    (ours,) = torch.autograd.grad(away_from_answers(answers)(z), z)
    divergence = F.kl_div(z.log_softmax(1), answers.detach().softmax(1), reduction="sum")
    (theirs,) = torch.autograd.grad(divergence, z)
    assert torch.allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    assert not away_from_answers(answers)(z.detach()).requires_grad, "the answers stand still"


def test_answers_may_rule_classes_out() -> None:
    z = torch.zeros(1, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(away_from_answers(torch.tensor([[0.0, 0.0, -math.inf]]))(z), z)
    assert gradient.flatten().tolist() == pytest.approx([1 / 3 - 1 / 2, 1 / 3 - 1 / 2, 1 / 3])


@pytest.mark.parametrize("threat", [LINF, L2], ids=lambda threat: threat.norm)
@pytest.mark.parametrize("start", ["uniform", "gaussian"])
def test_what_is_crafted_is_worse_for_every_image_and_inside_the_threat(
    start: Start, threat: Threat, teacher: nn.Module
) -> None:
    x, y = some_images()
    moved = crafted(Ascent(steps=5, start=start), teacher, threat)
    with torch.no_grad():
        before, after = (F.cross_entropy(teacher(each), y, reduction="none") for each in (x, moved))
    assert (after > before).all()
    assert float(threat.distance(moved, x).max()) <= threat.eps * (1 + 1e-5)
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1


def test_it_gets_away_from_the_answers_of_another_network(teacher: nn.Module) -> None:
    x, _ = some_images()
    answers = torch.randn(len(x), CLASSES, generator=torch.Generator().manual_seed(1))
    q = answers.softmax(1)
    moved = crafted(Ascent(steps=5, answers=answers), teacher, LINF)
    with torch.no_grad():
        before, after = (F.cross_entropy(teacher(each), q, reduction="none") for each in (x, moved))
    assert (after > before).all()
    assert not torch.equal(moved, crafted(Ascent(steps=5), teacher, LINF)), "the labels were got away from"


@pytest.mark.parametrize(("start", "norm"), [("uniform", "linf"), ("uniform", "l2"), ("gaussian", "linf")])
def test_steps_start_at_random_where_they_are_told_to(start: Start, norm: str, teacher: nn.Module) -> None:
    """Steps that go nowhere leave every image where they started."""
    threat = LINF if norm == "linf" else L2
    x = torch.full((200, 1, 8, 8), 0.5)
    ascent = Ascent(steps=1, step_size=1e-9, start=start)
    torch.manual_seed(0)
    moved = ascent.craft(ModelOracle(teacher, Ascent.access), x, torch.zeros(200).long(), threat)
    distance = threat.distance(moved, x)
    if start == "gaussian":
        assert float((moved - x).std()) == pytest.approx(1e-3, rel=0.05)
    elif norm == "linf":
        assert float((moved - x).abs().mean()) == pytest.approx(threat.eps / 2, rel=0.05)
    else:
        # In 64 dimensions the expected radius of a uniform point is 64/65 of the ball's.
        assert float(distance.mean()) == pytest.approx(64 / 65, rel=0.01)
        assert float(distance.max()) <= 1 + 1e-6


def test_a_step_is_a_quarter_of_the_radius_unless_it_is_given() -> None:
    """On a linear network all steps go the same way, so after n of them the image is n lengths away."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    x, y = torch.full((1, 1, 8, 8), 0.5), torch.tensor([0])
    for ascent, length in ((Ascent(steps=2), 0.025), (Ascent(steps=2, step_size=0.01), 0.01)):
        gaussian = Ascent(steps=2, step_size=ascent.step_size, start="gaussian")
        moved = gaussian.craft(ModelOracle(network, Ascent.access), x, y, LINF)
        assert float((moved - x).abs().mean()) == pytest.approx(2 * length, abs=5e-4)


def test_on_a_linear_network_two_classes_are_confused_as_far_as_the_threat_allows() -> None:
    torch.manual_seed(0)
    last = nn.Linear(64, 2)
    x, y = torch.full((3, 1, 8, 8), 0.5), torch.tensor([0, 1, 0])
    network = nn.Sequential(nn.Flatten(), last)
    moved = Ascent(steps=10).craft(ModelOracle(network, Ascent.access), x, y, LINF)
    pull = last.weight.detach()[1 - y] - last.weight.detach()[y]
    assert torch.allclose(moved, x + LINF.eps * pull.sign().view_as(x))


def test_the_answers_of_a_batch_are_no_part_of_what_it_is() -> None:
    assert repr(Ascent(steps=3, answers=torch.zeros(2, 3))) == repr(Ascent(steps=3))

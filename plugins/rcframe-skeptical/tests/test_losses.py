"""The equations by number, on logits whose softmaxes are simple fractions; float64 to 1e-10."""

from __future__ import annotations

import math

import pytest
import torch
from rcframe_skeptical.losses import Outputs, feature_loss, self_loss, teacher_loss
from rcframe_skeptical.own_teacher import OwnTeacher
from rcframe_skeptical.student import Skeptical
from torch import Tensor

TAU = 2.0
Y = torch.tensor([0])
#: Softmaxes at temperature TAU: three quarters and one, halves, and one fifth and four.
THREE = torch.tensor([[TAU * math.log(3), 0.0]], dtype=torch.float64)
EVEN = torch.zeros(1, 2, dtype=torch.float64)
FIFTH = torch.tensor([[0.0, TAU * math.log(4)]], dtype=torch.float64)

KL_THREE_EVEN = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
KL_THREE_FIFTH = 0.75 * math.log(3.75) + 0.25 * math.log(0.25 / 0.8)
KL_EVEN_THREE = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
KL_EVEN_FIFTH = 0.5 * math.log(2.5) + 0.5 * math.log(0.5 / 0.8)
#: Cross-entropies of label 0, without temperature: the odds against it are squared by TAU.
CE_THREE, CE_EVEN, CE_FIFTH = math.log(1 + 1 / 9), math.log(2), math.log(1 + 16)


def close(found: Tensor, expected: float) -> bool:
    return math.isclose(float(found), expected, rel_tol=1e-10, abs_tol=1e-10)


def test_equation_1_is_labels_and_teacher_at_the_shallow_head() -> None:
    expected = 0.1 * CE_EVEN + 0.9 * TAU**2 * KL_THREE_EVEN
    assert close(teacher_loss(EVEN, THREE, Y, alpha=0.9, temperature=TAU), expected)


def test_equation_2_is_labels_and_the_end_at_every_deeper_head() -> None:
    expected = 0.7 * (CE_EVEN + CE_FIFTH) + 0.3 * (KL_THREE_EVEN + KL_THREE_FIFTH)
    assert close(self_loss(THREE, [EVEN, FIFTH], Y, beta=0.3, temperature=TAU), expected)


def test_equation_2_can_be_scaled_like_the_teachers_divergence() -> None:
    expected = 0.7 * CE_EVEN + 0.3 * TAU**2 * KL_THREE_EVEN
    assert close(self_loss(THREE, [EVEN], Y, beta=0.3, temperature=TAU, scale=TAU**2), expected)


def test_equation_3_weighs_the_three() -> None:
    outputs = Outputs(final=THREE, shallow=EVEN, deeper=(FIFTH,))
    strategy = Skeptical(alpha=0.9, beta=0.3, temperature=TAU, gammas=(2.0, 3.0, 5.0))
    expected = (
        2 * (0.1 * CE_EVEN + 0.9 * TAU**2 * KL_THREE_EVEN) + 3 * (0.7 * CE_FIFTH + 0.3 * KL_THREE_FIFTH) + 5 * CE_THREE
    )
    assert close(strategy.loss(outputs, THREE, Y), expected)


def test_equation_5_teaches_from_the_shallow_head_and_reads_no_label() -> None:
    outputs = Outputs(final=THREE, shallow=EVEN, deeper=(FIFTH,))
    strategy = Skeptical(labels=False, temperature=TAU, gammas=(2.0, 3.0, 5.0))
    expected = TAU**2 * (2 * KL_THREE_EVEN + 3 * KL_EVEN_FIFTH + 5 * KL_EVEN_THREE)
    assert close(strategy.loss(outputs, THREE, torch.tensor([-1])), expected)


@pytest.mark.parametrize("detach", [False, True])
def test_without_labels_the_shallow_head_is_moved_by_what_it_teaches_unless_detached(detach: bool) -> None:
    shallow, final = EVEN.clone().requires_grad_(True), THREE.clone().requires_grad_(True)
    strategy = Skeptical(labels=False, temperature=TAU, gammas=(0.0, 0.0, 1.0), detach=detach)
    strategy.loss(Outputs(final, shallow), FIFTH, Y).backward()  # type: ignore[no-untyped-call]
    assert final.grad is not None
    assert bool(final.grad.any())
    moved = shallow.grad is not None and bool(shallow.grad.any())
    assert moved is not detach


def test_equation_6_is_labels_everywhere_and_the_end_at_the_heads() -> None:
    expected = CE_THREE + 0.9 * (CE_EVEN + CE_FIFTH) + 0.1 * TAU**2 * (KL_THREE_EVEN + KL_THREE_FIFTH)
    assert close(OwnTeacher(alpha=0.1, temperature=TAU).loss(THREE, [EVEN, FIFTH], Y), expected)


@pytest.mark.parametrize("detach", [True, False])
def test_the_own_teacher_is_moved_by_its_heads_only_if_it_is_not_detached(detach: bool) -> None:
    final = THREE.clone().requires_grad_(True)
    own, alone = OwnTeacher(alpha=1, temperature=TAU, detach=detach), OwnTeacher(alpha=1, temperature=TAU)
    (moved,) = torch.autograd.grad(own.loss(final, [EVEN], Y), final)
    (labels,) = torch.autograd.grad(alone.loss(final, [], Y), final)
    assert torch.equal(moved, labels) is detach


def test_equation_7_is_the_squared_distance_per_image_summed_over_heads() -> None:
    final = torch.tensor([[1.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    near, far = final + torch.tensor([1.0, 0.0]), final + torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    assert close(feature_loss(final, [near, far]), 1 + 25 / 2)
    assert close(feature_loss(final, []), 0)


def test_the_teachers_head_is_the_first_or_the_final_one() -> None:
    inside, at_end = (Outputs.of(THREE, [EVEN, FIFTH], enters_at_end=ends) for ends in (False, True))
    assert (inside.final is THREE, inside.shallow is EVEN, len(inside.deeper)) == (True, True, 1)
    assert inside.deeper[0] is FIFTH
    assert (at_end.final is THREE, at_end.shallow is THREE, len(at_end.deeper)) == (True, True, 2)
    assert at_end.deeper[0] is EVEN

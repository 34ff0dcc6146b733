from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st
from scipy import stats

from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.likeness import Likeness, agreeing, divergences

EXACT = 1e-10
NAN = math.nan


def test_likeness_by_hand() -> None:
    teacher = torch.tensor([[2.0, 0.0], [2.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    # The teacher is wrong about the last two, and the student follows it in one of these.
    found = Likeness.of(student, teacher, torch.tensor([0, 0, 0, 0, 0]))
    assert (found.agreement, found.among_mistakes) == (Accuracy(2, 5), Accuracy(1, 2))


def test_what_agreement_costs_no_look_is_the_share_of_the_teachers_commonest_class() -> None:
    teacher = torch.eye(3)[[0, 2, 2, 1, 2]]
    found = Likeness.of(torch.eye(3)[[2, 2, 2, 2, 2]], teacher, torch.tensor([0, 0, 0, 0, 0]))
    assert found.blind == Accuracy(3, 5)
    assert found.agreement == found.blind


@pytest.mark.parametrize(("agreed", "says"), [(50, False), (58, False), (62, True)])
def test_agreement_says_something_where_its_interval_lies_above_that(agreed: int, says: bool) -> None:
    """Wilson's interval of 58 of 100 begins at 48.2%, that of 62 at 52.2%."""
    likeness = Likeness(
        agreement=Accuracy(agreed, 100), among_mistakes=Accuracy(0, 0), divergence=None, blind=Accuracy(50, 100)
    )
    assert likeness.says_something is says


def test_the_divergence_is_that_of_the_teacher_from_the_student() -> None:
    teacher = torch.tensor([[0.75, 0.25]], dtype=torch.float64).log()
    student = torch.tensor([[0.5, 0.5]], dtype=torch.float64).log()
    # 0.75 log(0.75 / 0.5) + 0.25 log(0.25 / 0.5); the other way round it is 0.143841.
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert divergences(teacher, student).tolist() == pytest.approx([expected], abs=EXACT)
    found = Likeness.of(student, teacher, torch.tensor([0])).divergence
    assert found is not None
    assert found.n == 1
    assert found.value == pytest.approx(expected, abs=EXACT)
    assert expected == pytest.approx(0.130812, abs=1e-6)


def test_a_class_that_the_teacher_excludes_adds_nothing() -> None:
    teacher = torch.tensor([[0.0, -math.inf]], dtype=torch.float64)
    assert divergences(teacher, torch.zeros(1, 2)).tolist() == pytest.approx([math.log(2)], abs=EXACT)


def test_who_names_no_class_agrees_with_nobody() -> None:
    teacher = torch.tensor([[NAN, 0.0], [NAN, 0.0], [1.0, 0.0]])
    student = torch.tensor([[NAN, 0.0], [1.0, 0.0], [NAN, 0.0]])
    assert agreeing(student, teacher).tolist() == [False] * 3
    found = Likeness.of(student, teacher, torch.zeros(3, dtype=torch.int64))
    assert (found.agreement, found.divergence) == (Accuracy(0, 3), None)


def test_divergences_are_means_over_the_images_with_numbers_on_both_sides() -> None:
    teacher = torch.tensor([[NAN, 0.0], [0.0, 0.0], [0.0, math.log(3)]], dtype=torch.float64)
    student = torch.tensor([[0.0, 0.0], [NAN, 0.0], [0.0, 0.0]], dtype=torch.float64)
    found = Likeness.of(student, teacher, torch.zeros(3, dtype=torch.int64)).divergence
    assert found is not None
    assert found.n == 1
    assert found.value == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=EXACT)


@given(st.integers(0, 1000))
def test_a_network_agrees_with_itself_in_everything(seed: int) -> None:
    logits = 5 * torch.randn(8, 4, generator=torch.Generator().manual_seed(seed))
    labels = torch.zeros(8, dtype=torch.int64)
    found = Likeness.of(logits, logits.clone(), labels)
    wrong = int((logits.argmax(dim=1) != 0).sum())
    assert (found.agreement, found.among_mistakes) == (Accuracy(8, 8), Accuracy(wrong, wrong))
    assert found.divergence is not None
    assert found.divergence.value == 0


@given(st.integers(0, 1000))
def test_divergences_are_scipys_and_never_below_zero_in_any_order(seed: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    teacher, student = (4 * torch.randn(9, 5, generator=chance) for _ in range(2))
    labels = torch.randint(5, (9,), generator=chance)
    p, q = (logits.double().softmax(dim=1).numpy() for logits in (teacher, student))
    expected = stats.entropy(p, q, axis=1)
    assert divergences(teacher, student).tolist() == pytest.approx(expected.tolist(), abs=EXACT)
    found, order = Likeness.of(student, teacher, labels), torch.randperm(9, generator=chance)
    again = Likeness.of(student[order], teacher[order], labels[order])
    assert found.divergence is not None
    assert again.divergence is not None
    assert 0 <= found.divergence.low <= found.divergence.value
    assert (again.agreement, again.among_mistakes) == (found.agreement, found.among_mistakes)
    assert again.divergence.value == pytest.approx(found.divergence.value, abs=EXACT)

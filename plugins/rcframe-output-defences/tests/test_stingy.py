from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st
from rcframe_output_defences.stingy import Stingy, kept, sparse_logits
from torch import Generator, Tensor

import rcframe as rc
from rcframe import RequestError, kl_divergence
from rcframe.testing.toys import toy_run

INF = math.inf


def rows(seed: int, classes: int, images: int = 6) -> Tensor:
    return 3 * torch.randn(images, classes, generator=torch.Generator().manual_seed(seed))


def guarded(teacher: Stingy, logits: Tensor) -> Tensor:
    return teacher.guard(logits, torch.zeros(len(logits), 1, 2, 2), Generator())


@pytest.mark.parametrize(
    ("classes", "ratio", "expected"),
    [
        (10, 0.2, 2),
        (100, 0.1, 10),
        (200, 0.1, 20),
        (10, 0.19, 1),
        (3, 0.1, 1),
        (5, 0.0, 1),
        (4, 1.0, 4),
        (100, 0.29, 29),
    ],
)
def test_the_share_of_the_classes_is_rounded_down_but_one_is_left(classes: int, ratio: float, expected: int) -> None:
    assert kept(classes, None, ratio) == expected


def test_a_number_takes_the_place_of_the_share() -> None:
    assert kept(10, 3, 0.9) == 3
    assert guarded(Stingy(keep=3, ratio=0.9), rows(0, 10)).isfinite().sum(dim=1).tolist() == [3] * 6


def test_the_largest_stay_as_they_are() -> None:
    z = torch.tensor([[1.0, 4.0, -2.0, 3.0], [0.0, -1.0, 5.0, -3.0]])
    assert sparse_logits(z, 2).tolist() == [[-INF, 4.0, -INF, 3.0], [0.0, -INF, 5.0, -INF]]


def test_of_equal_ones_the_first_stay() -> None:
    z = torch.tensor([[2.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    assert sparse_logits(z, 2).tolist() == [[2.0, -INF, 2.0, -INF], [0.0, 0.0, -INF, -INF]]
    assert sparse_logits(z, 1).argmax(dim=1).tolist() == [0, 0]


@given(st.integers(0, 10_000), st.integers(2, 12), st.floats(0, 1), st.booleans())
def test_the_top_class_stays_and_exactly_so_many_are_left(seed: int, classes: int, ratio: float, coarse: bool) -> None:
    z = rows(seed, classes)
    z = z.round() if coarse else z
    out = guarded(Stingy(ratio=ratio), z)
    finite = out.isfinite()
    assert torch.equal(out.argmax(dim=1), z.argmax(dim=1))
    assert finite.sum(dim=1).tolist() == [kept(classes, None, ratio)] * 6
    assert torch.equal(out[finite], z[finite])
    smallest_left = torch.where(finite, z, INF).amin(dim=1)
    largest_gone = torch.where(finite, -INF, z).amax(dim=1)
    assert bool((smallest_left >= largest_gone).all())


@given(st.integers(0, 10_000), st.integers(2, 12))
def test_keeping_all_of_them_changes_nothing(seed: int, classes: int) -> None:
    z = rows(seed, classes)
    assert torch.equal(guarded(Stingy(ratio=1.0), z), z)
    assert torch.equal(guarded(Stingy(keep=classes), z), z)


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_what_a_student_learns_is_the_softmax_over_those_left(temperature: float) -> None:
    """Computed by hand in double precision: classes that are ruled out add nothing to the divergence."""
    z, student = rows(1, 5, images=1).double(), rows(2, 5, images=1).double()
    left = z[0].argsort(descending=True)[:2].tolist()
    total = sum(math.exp(float(z[0, k]) / temperature) for k in left)
    log_q = (student[0] / temperature).log_softmax(dim=0)
    expected = 0.0
    for k in left:
        p = math.exp(float(z[0, k]) / temperature) / total
        expected += p * (math.log(p) - float(log_q[k]))
    found = kl_divergence(sparse_logits(z, 2), student, temperature)
    assert float(found) == pytest.approx(expected, abs=1e-10)


def test_the_gradient_that_a_student_gets_is_finite() -> None:
    student = rows(2, 5).double().requires_grad_(True)
    divergence = kl_divergence(sparse_logits(rows(1, 5).double(), 1), student, 4.0)
    (found,) = torch.autograd.grad(divergence, student)
    expected = ((student / 4).softmax(1) - F.one_hot(rows(1, 5).argmax(1), 5)).detach() / 4 / len(student)
    assert torch.allclose(found, expected, atol=1e-12)


def test_the_presets_are_the_published_shares() -> None:
    shares = {name: rc.teacher(f"stingy:preset={name}").ratio for name in ("cifar10", "cifar100", "tiny-imagenet")}  # type: ignore[attr-defined]
    assert shares == {"cifar10": 0.2, "cifar100": 0.1, "tiny-imagenet": 0.1}


def test_more_logits_than_there_are_cannot_be_kept() -> None:
    run = toy_run("teacher")
    with pytest.raises(RequestError, match=r"let out 4 logits \(keep=4\), but data set `toy` has 3 classes"):
        Stingy(keep=4).network(run)
    Stingy(keep=3).network(run)


@pytest.mark.parametrize("spec", ["stingy:keep=0", "stingy:ratio=1.1", "stingy:ratio=-0.1"])
def test_options_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(RequestError, match="must be"):
        rc.teacher(spec)

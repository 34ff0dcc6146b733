from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st
from rcframe_output_defences.rounded import Rounded
from torch import Generator, Tensor

import rcframe as rc
from rcframe import RequestError


def rows(seed: int, classes: int = 5, images: int = 6) -> Tensor:
    return 3 * torch.randn(images, classes, generator=torch.Generator().manual_seed(seed))


def guarded(teacher: Rounded, logits: Tensor) -> Tensor:
    return teacher.guard(logits, torch.zeros(len(logits), 1, 2, 2), Generator())


def log(*p: float) -> Tensor:
    return torch.tensor([p], dtype=torch.float64).log()


def released(p: Tensor, decimals: int) -> list[float]:
    """Return the probabilities that leave, before they are divided by their sum."""
    return [round(math.exp(value), 6) for value in guarded(Rounded(decimals=decimals), p)[0].tolist()]


def test_probabilities_are_rounded() -> None:
    assert released(log(0.646, 0.234, 0.12), 2) == [0.65, 0.23, 0.12]
    assert released(log(0.646, 0.234, 0.12), 1) == [0.6, 0.2, 0.1]
    assert released(log(0.96, 0.03, 0.01), 1) == [1.0, 0.0, 0.0]


def test_what_rounds_to_zero_is_ruled_out() -> None:
    assert guarded(Rounded(decimals=1), log(0.96, 0.03, 0.01))[0].tolist() == [0.0, -math.inf, -math.inf]


def test_where_others_round_to_the_same_the_top_class_gets_a_unit_more() -> None:
    assert released(log(0.33, 0.32, 0.35), 1) == [0.3, 0.3, 0.4], "this one rounds up by itself"
    assert released(log(0.32, 0.34, 0.34 - 1e-9), 1) == [0.3, 0.4, 0.3]
    assert released(log(0.3, 0.3, 0.4), 0) == [0.0, 0.0, 1.0]


def test_logits_are_rounded() -> None:
    z = torch.tensor([[1.26, -0.74, 1.34], [0.04, 0.0, -3.0]])
    found = guarded(Rounded(on="logits", decimals=1), z)
    assert torch.allclose(found, torch.tensor([[1.3, -0.7, 1.4], [0.1, 0.0, -3.0]]), atol=1e-6)


@given(st.integers(0, 10_000), st.integers(0, 12), st.sampled_from(["probabilities", "logits"]), st.integers(2, 40))
def test_the_top_class_stays_and_nothing_moves_by_more_than_it_must(
    seed: int, decimals: int, on: str, classes: int
) -> None:
    z, unit = rows(seed, classes), 10.0**-decimals
    out = guarded(Rounded(decimals=decimals, on=on), z)  # type: ignore[arg-type]
    top = z.argmax(dim=1, keepdim=True)
    assert torch.equal(out.argmax(dim=1, keepdim=True), top)
    assert not out.isnan().any()
    exact, found = (z, out) if on == "logits" else (z.softmax(dim=1), out.exp())
    moved = (found - exact).abs()
    assert float(moved.scatter(1, top, 0.0).max()) <= unit / 2 + 1e-5
    assert float(moved.max()) <= 1.5 * unit + 1e-5


@given(st.integers(0, 10_000), st.integers(0, 4))
def test_answers_have_no_more_digits_than_that(seed: int, decimals: int) -> None:
    scaled = 10**decimals * guarded(Rounded(decimals=decimals), rows(seed)).double().exp()
    assert torch.allclose(scaled, scaled.round(), atol=1e-2 if decimals == 4 else 1e-3)


def test_many_digits_change_hardly_anything() -> None:
    z = rows(0)
    assert torch.allclose(guarded(Rounded(decimals=12), z), z.log_softmax(dim=1), atol=1e-5)


@pytest.mark.parametrize("spec", ["rounded:decimals=-1", "rounded:decimals=13", "rounded:on=labels"])
def test_options_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(RequestError, match="must be"):
        rc.teacher(spec)

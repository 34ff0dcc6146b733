from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy import special, stats
from torch import Tensor

from rcframe.evaluation.softness import (
    Softness,
    entropies,
    margins,
    peaks,
    probabilities,
    profile,
    sound,
)

EXACT = 1e-10
#: At temperature 4 the probabilities 0.6, 0.3 and 0.1.
LOGITS = 4 * torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64).log()


def measured(logits: Tensor, temperature: float = 4.0) -> Softness:
    found = Softness.of(logits, temperature)
    assert found is not None
    return found


def test_softness_by_hand() -> None:
    found = measured(LOGITS)
    entropy = -(0.6 * math.log(0.6) + 0.3 * math.log(0.3) + 0.1 * math.log(0.1))
    assert found.entropy.value == pytest.approx(entropy, abs=EXACT)
    assert found.margin.value == pytest.approx(0.3, abs=EXACT)
    assert found.temperature == 4.0
    assert found.entropy.n == found.peaks.n == found.margin.n == 1


def test_a_peak_is_a_class_above_a_tenth_and_not_at_it() -> None:
    rows = [[0.6, 0.3, 0.1], [0.79, 0.11, 0.1], [1.0, 0.0, 0.0], [0.34, 0.33, 0.33]]
    assert peaks(torch.tensor(rows, dtype=torch.float64)).tolist() == [2, 2, 1, 3]


def test_logits_as_those_of_the_golden_example_at_temperature_4() -> None:
    # exp of (0.5, 0, -0.25) is 1.648721, 1, 0.778801.
    found = probabilities(torch.tensor([[2.0, 0.0, -1.0]]), 4.0)[0].tolist()
    total = math.exp(0.5) + 1 + math.exp(-0.25)
    assert found == pytest.approx([math.exp(0.5) / total, 1 / total, math.exp(-0.25) / total], abs=EXACT)


def test_the_extremes_are_one_class_alone_and_all_alike() -> None:
    alone, alike = measured(torch.tensor([[900.0, 0.0, 0.0]])), measured(torch.zeros(2, 8))
    assert (alone.entropy.value, alone.peaks.value, alone.margin.value) == pytest.approx((0, 1, 1), abs=EXACT)
    assert (alike.entropy.value, alike.peaks.value, alike.margin.value) == pytest.approx((math.log(8), 8, 0), abs=EXACT)


def test_a_probability_of_zero_is_a_number() -> None:
    """A guarded teacher releases some logits as -inf."""
    infinite = torch.tensor([[math.log(3), 0.0, -math.inf], [5.0, -math.inf, -math.inf]], dtype=torch.float64)
    found = measured(infinite, 1.0)
    assert found.entropy.n == 2
    assert found.entropy.value == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / 2, abs=EXACT)
    assert found.margin.value == pytest.approx((0.5 + 1) / 2, abs=EXACT)


def test_images_whose_outputs_are_no_numbers_are_left_out() -> None:
    broken = torch.tensor([[math.nan, 0.0, 0.0], [math.inf, 0.0, 0.0], [-math.inf] * 3]).double()
    assert sound(probabilities(torch.cat([broken, LOGITS]), 4.0)).tolist() == [False] * 3 + [True]
    assert measured(torch.cat([broken, LOGITS])) == measured(LOGITS)
    assert Softness.of(broken, 4.0) is None
    assert Softness.of(torch.zeros(0, 3), 4.0) is None


def test_a_single_class_is_certain() -> None:
    found = measured(torch.zeros(2, 1))
    assert (found.entropy.value, found.peaks.value, found.margin.value) == (0, 1, 1)


@given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 4.0, 20.0]))
def test_softness_is_what_scipy_computes_in_any_order_of_images_and_classes(seed: int, temperature: float) -> None:
    chance = torch.Generator().manual_seed(seed)
    logits = 9 * torch.randn(7, 5, generator=chance)
    softened = special.softmax(logits.double().numpy() / temperature, axis=1)
    ordered = np.sort(softened, axis=1)
    found = measured(logits, temperature)
    assert found.entropy.value == pytest.approx(stats.entropy(softened, axis=1).mean(), abs=EXACT)
    assert found.peaks.value == pytest.approx((softened > 0.1).sum(axis=1).mean(), abs=EXACT)
    assert found.margin.value == pytest.approx((ordered[:, -1] - ordered[:, -2]).mean(), abs=EXACT)
    mixed = logits[torch.randperm(7, generator=chance)][:, torch.randperm(5, generator=chance)]
    again = measured(mixed, temperature)
    assert again.entropy.value == pytest.approx(found.entropy.value, abs=EXACT)
    assert again.peaks.value == pytest.approx(found.peaks.value, abs=EXACT)
    assert again.margin.high == pytest.approx(found.margin.high, abs=EXACT)


@given(st.integers(0, 1000))
def test_a_higher_temperature_softens(seed: int) -> None:
    logits = 5 * torch.randn(9, 6, generator=torch.Generator().manual_seed(seed))
    cool, warm = probabilities(logits, 2.0), probabilities(logits, 8.0)
    assert (entropies(warm) >= entropies(cool) - EXACT).all()
    assert (margins(warm) <= margins(cool) + EXACT).all()


def test_a_profile_is_the_mean_output_for_each_class() -> None:
    rows = [[0.5, 0.5, 0.0], [0.7, 0.1, 0.2], [0.2, 0.2, 0.6], [math.nan] * 3]
    found = profile(torch.tensor(rows, dtype=torch.float64), torch.tensor([0, 0, 2, 2]))
    assert found[0].tolist() == pytest.approx([0.6, 0.3, 0.1], abs=EXACT)
    assert found[1].isnan().all()
    assert found[2].tolist() == pytest.approx([0.2, 0.2, 0.6], abs=EXACT)

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.stats import binom

from rcframe.evaluation.trust.chance import MAY_GAIN, MAY_MISS, Lead, Survivors, at_least, speaks_against
from rcframe.findings.statistics import compare_images


@given(st.integers(0, 300), st.integers(0, 300), st.floats(0, 1))
def test_the_probability_is_that_of_the_binomial_distribution(count: int, of: int, share: float) -> None:
    assert at_least(count, of, share) == pytest.approx(float(binom.sf(count - 1, of, share)), abs=1e-9)


def test_a_hand_computed_probability() -> None:
    assert at_least(2, 3, 0.5) == pytest.approx(0.5)
    assert at_least(0, 3, 0.0) == 1
    assert at_least(1, 3, 0.0) == 0
    assert at_least(3, 3, 1.0) == 1


@pytest.mark.parametrize(
    ("among", "tolerance", "enough"),
    [
        (Survivors(64, 64, 64), MAY_MISS, 2),
        (Survivors(1000, 1000, 1000), MAY_MISS, 7),
        (Survivors(10_000, 10_000, 10_000), MAY_MISS, 32),
        (Survivors(64, 64, 32), MAY_GAIN, 3),
        (Survivors(1, 1, 1), MAY_MISS, 2),
    ],
)
def test_from_how_many_broken_images_on_a_check_speaks_against_an_attack(
    among: Survivors, tolerance: float, enough: int
) -> None:
    speaking = [count for count in range(100) if speaks_against(count, among, tolerance)]
    assert speaking[0] == enough
    assert speaking == list(range(enough, 100))


def test_few_survivors_of_many_images_are_worth_little() -> None:
    """All 10 of them are 0.2% of 5,000 images: an attack may miss those."""
    assert not speaks_against(10, Survivors(5000, 10, 10), MAY_MISS)
    assert speaks_against(10, Survivors(500, 10, 10), MAY_MISS)


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 64), st.sampled_from([MAY_MISS, MAY_GAIN]))
def test_a_sound_attack_is_flagged_by_one_comparison_in_a_hundred_at_most(
    attacked: int, withstood: int, tried: int, tolerance: float
) -> None:
    withstood = min(withstood, attacked)
    tried = min(tried, withstood)
    among, share = Survivors(attacked, withstood, tried), min(1.0, tolerance * attacked / withstood)
    alarms = sum(
        float(binom.pmf(count, tried, share)) for count in range(tried + 1) if speaks_against(count, among, tolerance)
    )
    assert alarms <= 0.01 + 1e-9


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=200))
def test_a_lead_is_what_two_runs_are_compared_by(pairs: list[tuple[bool, bool]]) -> None:
    first, second = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    theirs = compare_images(first[None], second[None])
    lead = Lead.of(torch.from_numpy(first), torch.from_numpy(second))
    assert lead.mean == pytest.approx(theirs.mean)
    assert lead.beyond_noise == theirs.beyond_noise
    assert max(-1.0, lead.mean - lead.half_width) == pytest.approx(theirs.low)


def test_a_hand_computed_lead() -> None:
    """Nine images tell the two apart, all the same way; with one more for either side 10 to 1."""
    lead = Lead.of(torch.arange(98) < 50, torch.arange(98) < 41)
    assert lead.mean == pytest.approx(9 / 98)
    assert lead.half_width == pytest.approx(1.959964 * math.sqrt(0.11 - 0.09**2) / 10)
    assert lead.beyond_noise

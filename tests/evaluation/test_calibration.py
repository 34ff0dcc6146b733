from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.evaluation.calibration import BINS, Bin, Calibration, bins_of, calibration_error

EXACT = 1e-10


def logits_of(confidence: Tensor, classes: int = 10) -> Tensor:
    """Logits (n, classes) that give class 0 these probabilities (n,), and the others equal parts of the rest."""
    rest = ((1 - confidence) / (classes - 1)).unsqueeze(1).expand(-1, classes - 1)
    return torch.cat([confidence.unsqueeze(1), rest], dim=1).log()


def measured(confidence: Tensor, right: Tensor, seed: int = 0) -> Calibration:
    """Networks that are so sure of class 0, which is right or wrong."""
    found = Calibration.of(logits_of(confidence.double()), torch.where(right, 0, 1), seed)
    assert found is not None
    return found


def drawn(count: int, seed: int, above: float = 0.0) -> tuple[Tensor, Tensor]:
    """Confidences, and answers that are right as often as these say, or less often."""
    chance = torch.Generator().manual_seed(seed)
    confidence = 0.2 + 0.8 * torch.rand(count, generator=chance, dtype=torch.float64)
    return confidence, torch.rand(count, generator=chance, dtype=torch.float64) < confidence - above


def test_the_error_by_hand() -> None:
    confidence = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.65, 0.65])
    right = torch.tensor([True, True, True, False, True, True])
    found = measured(confidence, right)
    # Four of 0.95 of which 0.75 are right, two of 0.65 of which all are: 4/6 * 0.2 + 2/6 * 0.35.
    assert found.error.value == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.35, abs=1e-7)
    assert found.confidence.value == pytest.approx((4 * 0.95 + 2 * 0.65) / 6, abs=1e-7)
    assert [attrs.evolve(one, confidence=round(one.confidence, 6)) for one in found.bins] == [
        Bin(9, 2, 2, 0.65),
        Bin(14, 4, 3, 0.95),
    ]
    assert found.error.n == 6


def test_the_brier_score_by_hand() -> None:
    # 0.8, 0.1, 0.1: right 0.04 + 0.01 + 0.01, wrong 0.64 + 0.81 + 0.01.
    logits = torch.tensor([[0.8, 0.1, 0.1]] * 2, dtype=torch.float64).log()
    found = Calibration.of(logits, torch.tensor([0, 1]), 0)
    assert found is not None
    assert found.brier.value == pytest.approx((0.06 + 1.46) / 2, abs=EXACT)


def test_a_bin_holds_its_upper_end() -> None:
    confidences = torch.tensor([1e-9, 1 / 15, 1 / 15 + 1e-9, 0.5, 14 / 15, 1.0], dtype=torch.float64)
    assert bins_of(confidences).tolist() == [0, 0, 1, 7, 13, 14]


def test_gaps_cancel_within_a_bin_and_not_between_bins() -> None:
    gaps = torch.tensor([0.1, -0.1, 0.2, -0.2], dtype=torch.float64)
    assert calibration_error(gaps, torch.tensor([3, 3, 5, 5])) == pytest.approx(0, abs=EXACT)
    assert calibration_error(gaps, torch.tensor([3, 4, 5, 6])) == pytest.approx(0.15, abs=EXACT)


def test_images_whose_outputs_are_no_numbers_are_left_out() -> None:
    logits, labels = torch.tensor([[math.nan, 0.0], [math.inf, 1.0], [2.0, 0.0]]), torch.tensor([0, 0, 0])
    found = Calibration.of(logits, labels, 0)
    assert found is not None
    assert found.error.n == 1
    assert found == Calibration.of(logits[2:], labels[2:], 0)
    assert Calibration.of(logits[:2], labels[:2], 0) is None
    assert Calibration.of(torch.zeros(0, 2), labels[:0], 0) is None


def test_a_network_that_is_sure_and_right_has_no_error() -> None:
    found = measured(torch.ones(50), torch.ones(50, dtype=torch.bool))
    assert (found.error.value, found.error.low, found.error.high, found.by_chance) == (0, 0, 0, 0)


@given(st.integers(0, 1000), st.integers(1, 60))
def test_the_error_is_what_numpy_counts_in_any_order(seed: int, count: int) -> None:
    chance = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(count, 4, generator=chance)
    labels = torch.randint(4, (count,), generator=chance)
    softened = logits.double().softmax(dim=1).numpy()
    confidence, right = softened.max(axis=1), softened.argmax(axis=1) == labels.numpy()
    expected = 0.0
    for number in range(BINS):
        here = (confidence > number / BINS) & (confidence <= (number + 1) / BINS)
        expected += abs(right[here].mean() - confidence[here].mean()) * here.mean() if here.any() else 0.0
    found = Calibration.of(logits, labels, 0)
    assert found is not None
    assert found.error.value == pytest.approx(expected, abs=EXACT)
    assert sum(one.n for one in found.bins) == count
    assert sum(one.correct for one in found.bins) == right.sum()
    assert 0 <= found.error.low <= found.error.value <= found.error.high <= 1
    order = torch.randperm(count, generator=chance)
    again = Calibration.of(logits[order], labels[order], 0)
    assert again is not None
    assert again.error.value == pytest.approx(found.error.value, abs=EXACT)
    assert again.brier.value == pytest.approx(found.brier.value, abs=EXACT)


def test_a_perfectly_calibrated_network_shows_what_chance_alone_would() -> None:
    found = [measured(*drawn(300, seed), seed=seed) for seed in range(40)]
    errors, by_chance = np.array([one.error.value for one in found]), np.array([one.by_chance for one in found])
    # The error of a sample is never 0, and its mean is what is expected of chance: 3 standard errors of the mean.
    assert errors.min() > 0.01
    assert abs(errors.mean() - by_chance.mean()) < 3 * errors.std(ddof=1) / math.sqrt(len(errors))
    assert sum(one.error.low == 0 for one in found) >= 36


def test_intervals_hold_a_known_error() -> None:
    """The network is right 5 points less often than it says, wherever it is sure."""
    found = [measured(*drawn(400, seed, above=0.05), seed=seed).error for seed in range(60)]
    assert sum(error.low <= 0.05 <= error.high for error in found) >= 54
    assert all(error.high < 0.2 for error in found)


def test_a_gross_error_is_beyond_chance() -> None:
    found = measured(*drawn(400, 1, above=0.3))
    assert found.error.low > 0.2 > found.by_chance


def test_the_resampling_is_that_of_the_seed_and_disturbs_nobody() -> None:
    confidence, right = drawn(100, 5)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    first = measured(confidence, right, seed=1)
    assert torch.equal(torch.rand(2), expected)
    assert measured(confidence, right, seed=1) == first
    assert measured(confidence, right, seed=2).error != first.error


def test_more_images_than_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn in pieces, all thousand resamples are there."""
    from rcframe.evaluation import calibration

    whole = measured(*drawn(50, 2))
    monkeypatch.setattr(calibration, "_AT_ONCE", 7 * 50)
    pieces = measured(*drawn(50, 2))
    assert pieces.by_chance == pytest.approx(whole.by_chance, rel=0.05)
    assert pieces.error.high == pytest.approx(whole.error.high, rel=0.05)
    assert sum(calibration._pieces(50)) == 1000

"""Whether a network is as often right as it says: confidence against accuracy, in bins."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import torch
from torch import Tensor

from rcframe.evaluation.amount import Z95, Amount
from rcframe.evaluation.softness import probabilities, sound
from rcframe.seeding import generator

BINS = 15
RESAMPLES = 1000
#: Draws that are made at once: memory may be short.
_AT_ONCE = 4_000_000


@attrs.frozen
class Bin:
    """The images whose confidence lies in one of the equal parts of (0, 1]."""

    #: The number of the bin, 0 for the lowest confidences.
    place: int
    n: int
    correct: int
    #: The mean confidence of these images.
    confidence: float


@attrs.frozen(kw_only=True)
class Calibration:
    """How well the confidence of a network, the probability of its first class, tells its accuracy. Added in API 1.4.

    The expected calibration error is `sum_b n_b / n * |accuracy_b - confidence_b|` over the bins.
    """

    error: Amount
    #: The error that a network with these confidences would show on so many images if it were perfectly calibrated.
    by_chance: float
    confidence: Amount
    #: The mean squared distance of the probabilities from the label's: sum_k (p_k - [k = y])^2.
    brier: Amount
    #: Bins without images are left out.
    bins: tuple[Bin, ...]

    @classmethod
    def of(cls, logits: Tensor, labels: Tensor, seed: int) -> Calibration | None:
        """Measure logits (n, classes) for images with labels (n,).

        Images whose outputs are no numbers are left out; None if that leaves none. `seed` decides the resampling.
        """
        softened = probabilities(logits)
        kept = sound(softened)
        if not bool(kept.any()):
            return None
        softened, labels = softened[kept], labels[kept]
        confidence, named = softened.max(dim=1)
        right, places = named == labels, bins_of(confidence)
        gaps = right.double() - confidence
        error, expected = calibration_error(gaps, places), _expected(confidence, places, seed)
        return cls(
            error=Amount(error, *_interval(error, _resampled(gaps, places, seed), expected), len(gaps)),
            by_chance=float(expected.mean()),
            confidence=Amount.mean(confidence),
            brier=Amount.mean((softened - torch.nn.functional.one_hot(labels, softened.shape[1])).square().sum(dim=1)),
            bins=tuple(_bins(right, confidence, places)),
        )


def bins_of(confidence: Tensor) -> Tensor:
    """Return the bins (n,) of confidences (n,): bin b holds those in (b / 15, (b + 1) / 15]."""
    return (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)


def calibration_error(gaps: Tensor, places: Tensor) -> float:
    """Return the expected calibration error of images with gaps (n,), right - confidence, in the bins (n,).

    `n_b / n * |accuracy_b - confidence_b|` is the absolute sum of a bin's gaps over n.
    """
    return float(torch.zeros(BINS, dtype=gaps.dtype).index_add_(0, places, gaps).abs().sum()) / len(gaps)


def _bins(right: Tensor, confidence: Tensor, places: Tensor) -> Iterator[Bin]:
    for place in range(BINS):
        here = places == place
        if bool(here.any()):
            yield Bin(place, int(here.sum()), int(right[here].sum()), float(confidence[here].mean()))


def _interval(error: float, resampled: Tensor, expected: Tensor) -> tuple[float, float]:
    """Return the bootstrap interval of an error; it reaches down to 0 where chance alone would show as much.

    The error of a sample is on average above that of all images, and that of a resample above that of the sample. So
    the lower end is the upper quantile turned around the error, or 0 where perfectly calibrated networks show such
    errors (`expected`). The upper end leaves the bias in, since what is taken off for it is itself uncertain.
    """
    if error <= float(expected.quantile(0.975)):
        low = 0.0
    else:
        low = min(error, max(0.0, 2 * error - float(resampled.quantile(0.975))))
    return low, min(1.0, error + Z95 * float(resampled.std()))


def _resampled(gaps: Tensor, places: Tensor, seed: int) -> Tensor:
    """Return the errors (1000,) of as many images drawn from these with replacement."""
    count, chance = len(gaps), generator(seed, "calibration error")
    drawn = (torch.randint(count, (size, count), generator=chance) for size in _pieces(count))
    return torch.cat([_errors(gaps[images], places[images]) for images in drawn])


def _expected(confidence: Tensor, places: Tensor, seed: int) -> Tensor:
    """Return the errors (1000,) of draws in which each image is right as often as its confidence says."""
    count, chance = len(confidence), generator(seed, "perfectly calibrated")
    drawn = (torch.rand(size, count, generator=chance, dtype=torch.float64) < confidence for size in _pieces(count))
    return torch.cat([_errors(right.double() - confidence, places.expand(len(right), count)) for right in drawn])


def _pieces(count: int) -> Iterator[int]:
    """Yield how many resamples of so many images to draw at a time."""
    size = max(1, _AT_ONCE // count)
    for begin in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - begin)


def _errors(gaps: Tensor, places: Tensor) -> Tensor:
    """Return the errors (k,) of k samples with gaps (k, n) in the bins (k, n)."""
    sums = torch.zeros(len(gaps), BINS, dtype=gaps.dtype).scatter_add_(1, places, gaps)
    return sums.abs().sum(dim=1) / gaps.shape[1]

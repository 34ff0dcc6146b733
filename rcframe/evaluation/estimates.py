"""Figures over several seeds, with intervals that count the chance of other seeds and of other images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.evaluate import Accuracy


@attrs.frozen
class Estimate:
    """A figure with its 95% interval, and what that rests on."""

    mean: float
    low: float
    high: float
    seeds: int
    #: Images that each run measured; 0 for what is not measured on images.
    images: int


def estimate(values: Sequence[float], images: int) -> Estimate:
    """Return the mean of a figure over seeds: an accuracy on so many images, or, with 0 images, a size.

    Two sources of chance count: other seeds (Student's t) and, for an accuracy, other images. All seeds share their
    images, so more seeds do not shrink the second: it is Wilson's, of the mean on the images of one seed. The interval
    adds both, which is rather too wide than too narrow. Of one seed it speaks of the same network on other images.
    """
    mean = math.fsum(values) / len(values)
    over_seeds = half_width_over_seeds(np.asarray(values, float))
    down, up = wilson_margins(mean, images) if images else (0.0, 0.0)
    low, high = mean - math.hypot(over_seeds, down), mean + math.hypot(over_seeds, up)
    return Estimate(mean, low, high, len(values), images)


def estimate_accuracies(accuracies: Sequence[Accuracy]) -> Estimate:
    """Return the mean over seeds of an accuracy, or another fraction of images, as `estimate` does."""
    return estimate([accuracy.value for accuracy in accuracies], min(accuracy.n for accuracy in accuracies))


def estimate_amounts(amounts: Sequence[Amount]) -> Estimate:
    """Return the mean over seeds of a figure that is no accuracy, with an interval as that of `estimate`.

    All seeds share their images, so the margins over images are those of the mean seed.
    """
    values = np.asarray([amount.value for amount in amounts])
    mean, over_seeds, (down, up) = float(values.mean()), half_width_over_seeds(values), mean_margins(amounts)
    images = min(amount.n for amount in amounts)
    return Estimate(mean, mean - math.hypot(over_seeds, down), mean + math.hypot(over_seeds, up), len(amounts), images)


def intervals_in_words(seeds: Sequence[int]) -> str:
    """Say what 95% intervals speak of, where figures were measured with so many seeds each."""
    if max(seeds, default=1) == 1:
        return "95% intervals over images; with one seed they say nothing of others."
    alone = "; with one seed, over images alone" if 1 in seeds else ""
    return f"Means over the seeds, with 95% intervals over seeds and images{alone}."


def half_width_over_seeds(values: NDArray[np.float64]) -> float:
    """Return the half width over seeds of the mean of (seeds,); one seed says nothing of others."""
    return _student_half_width(values) if len(values) > 1 else 0.0


def mean_margins(amounts: Sequence[Amount]) -> tuple[float, float]:
    """Return how far below and above their values the intervals over images reach, as a mean over seeds."""
    count = len(amounts)
    down = math.fsum(amount.value - amount.low for amount in amounts) / count
    return down, math.fsum(amount.high - amount.value for amount in amounts) / count


def wilson_margins(value: float, images: int) -> tuple[float, float]:
    """Return how far below and above an accuracy Wilson's interval over images reaches; never 0 on both sides."""
    nearest = Accuracy(round(value * images), images)
    low, high = nearest.interval
    return nearest.value - low, high - nearest.value


def _student_half_width(values: NDArray[np.float64]) -> float:
    from scipy.stats import t

    count = len(values)
    return float(t.ppf(0.975, count - 1)) * float(values.std(ddof=1)) / math.sqrt(count)

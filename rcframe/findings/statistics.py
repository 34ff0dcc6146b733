"""Is a difference beyond noise? Paired comparisons over seeds and images, beside the estimates of single figures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.estimates import half_width_over_seeds, mean_margins, wilson_margins
from rcframe.evaluation.evaluate import Accuracy

_NORMAL = 1.959963984540054


@attrs.frozen
class Difference:
    """How much higher one figure is than another, with the 95% interval of that."""

    mean: float
    low: float
    high: float
    #: Pairs of runs with the same seed that were compared.
    seeds: int
    #: Images on which the two were compared one by one; 0 where only the figures were.
    images: int

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def compare_images(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Difference:
    """Compare which images are right, (seeds, images) each, of the same seeds and the same images.

    Two sources of chance count: other seeds, and other images. The interval adds both, which is rather too wide than
    too narrow, since the spread over seeds holds some of the images' already.
    """
    gain = first.astype(float) - second.astype(float)
    half = math.hypot(half_width_over_seeds(gain.mean(axis=1)), _image_half_width(gain.mean(axis=0)))
    mean = float(gain.mean())
    return Difference(mean, max(-1.0, mean - half), min(1.0, mean + half), *gain.shape)


def compare_proportions(first: Sequence[Accuracy], second: Sequence[Accuracy]) -> Difference:
    """Compare accuracies of the same seeds that cannot be held against each other image by image.

    Both sources of chance count as in `compare_images`; that of the images is Newcombe's interval (1998, method 10) for
    images drawn apart, of which each side's seeds share theirs.
    """
    gain = np.asarray([mine.value for mine in first]) - np.asarray([theirs.value for theirs in second])
    mean, over_seeds = float(gain.mean()), half_width_over_seeds(gain)
    (down, up), (other_down, other_up) = _shared_margins(first), _shared_margins(second)
    low = mean - math.hypot(over_seeds, down, other_up)
    high = mean + math.hypot(over_seeds, up, other_down)
    return Difference(mean, max(-1.0, low), min(1.0, high), len(gain), 0)


def compare_counts(first: NDArray[np.int16], second: NDArray[np.int16]) -> Difference:
    """Compare counts, (seeds, images) each, of the same seeds and the same images, as `compare_images` does."""
    gain = first.astype(float) - second.astype(float)
    half = math.hypot(half_width_over_seeds(gain.mean(axis=1)), _image_half_width(gain.mean(axis=0)))
    mean = float(gain.mean())
    return Difference(mean, mean - half, mean + half, *gain.shape)


def compare_amounts(first: Sequence[Amount], second: Sequence[Amount]) -> Difference:
    """Compare figures of the same seeds that are no accuracies and cannot be compared image by image.

    The intervals over images of both sides are taken as those of images drawn apart, as in `compare_proportions`.
    """
    gain = np.asarray([mine.value for mine in first]) - np.asarray([theirs.value for theirs in second])
    mean, over_seeds = float(gain.mean()), half_width_over_seeds(gain)
    (down, up), (other_down, other_up) = mean_margins(first), mean_margins(second)
    low, high = mean - math.hypot(over_seeds, down, other_up), mean + math.hypot(over_seeds, up, other_down)
    return Difference(mean, low, high, len(gain), 0)


def compare_values(first: Sequence[float], second: Sequence[float]) -> Difference:
    """Compare figures of the same seeds, one by one, that have no noise but that of the seeds, such as sizes.

    Of one seed they are exact, and any difference is one.
    """
    gain = np.asarray(first, float) - np.asarray(second, float)
    half, mean = half_width_over_seeds(gain), float(gain.mean())
    return Difference(mean, mean - half, mean + half, len(gain), 0)


def _image_half_width(gains: NDArray[np.float64]) -> float:
    """Return the half width of the interval over images of the mean of `gains` (images,) in [-1, 1].

    One image more that only the first side gets right, and one that only the second does (Bonett and Price, 2012),
    keep the interval honest where few images, or none, tell the two apart.
    """
    padded = np.concatenate([gains, [1.0, -1.0]])
    return _NORMAL * float(padded.std()) / math.sqrt(len(padded))


def _shared_margins(accuracies: Sequence[Accuracy]) -> tuple[float, float]:
    """Return the margins over images of the mean of runs that share their images."""
    mean = math.fsum(accuracy.value for accuracy in accuracies) / len(accuracies)
    return wilson_margins(mean, min(accuracy.n for accuracy in accuracies))

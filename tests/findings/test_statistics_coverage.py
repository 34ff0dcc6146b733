"""Do the intervals hold what they claim to, in simulated worlds whose truth is known?"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from rcframe.evaluation.estimates import estimate
from rcframe.evaluation.evaluate import Accuracy
from rcframe.findings.statistics import Difference, compare_images, compare_proportions

Judged = NDArray[np.bool_]


def worlds(
    seeds: int, images: int, spread: float, shared: float, *, count: int = 1000
) -> tuple[list[tuple[Judged, Judged]], float]:
    """Simulated comparisons whose true difference is known.

    An image is right if a normal number is below the method's skill: images are more or less hard for both methods
    (`shared`), and each training has luck (`spread`).
    """
    random = np.random.default_rng(7)
    skills = (1.0, 0.6)
    made = []
    for _ in range(count):
        hardness = shared * random.normal(size=images)
        made.append(
            tuple(
                skill + hardness + spread * random.normal(size=(seeds, 1)) + random.normal(size=(seeds, images)) > 0
                for skill in skills
            )
        )
    scale = math.sqrt(1 + spread**2 + shared**2)
    true = float(stats.norm.cdf(skills[0] / scale) - stats.norm.cdf(skills[1] / scale))
    return [(first, second) for first, second in made], true


def covered(differences: Sequence[Difference], true: float) -> float:
    return float(np.mean([found.low <= true <= found.high for found in differences]))


#: Seeds, images, luck of a training, hardness of images.
WORLDS = [
    (1, 100, 0.0, 1.0),
    (1, 30, 0.0, 0.0),
    (2, 60, 0.5, 1.0),
    (3, 100, 0.0, 1.0),
    (3, 200, 0.3, 1.0),
    (5, 50, 0.6, 0.0),
]


@pytest.mark.parametrize(("seeds", "images", "spread", "shared"), WORLDS)
def test_the_interval_covers_the_true_difference(seeds: int, images: int, spread: float, shared: float) -> None:
    made, true = worlds(seeds, images, spread, shared)
    assert covered([compare_images(*sides) for sides in made], true) >= 0.93


@pytest.mark.parametrize(("seeds", "images", "spread", "shared"), WORLDS)
def test_it_also_covers_it_where_the_sides_saw_other_images(
    seeds: int, images: int, spread: float, shared: float
) -> None:
    made, true = worlds(seeds, images, spread, shared)
    others = [second for _, second in made[1:]] + [made[0][1]]
    found = [
        compare_proportions(accuracies(first), accuracies(other))
        for (first, _), other in zip(made, others, strict=True)
    ]
    assert covered(found, true) >= 0.93


@pytest.mark.parametrize(("seeds", "images", "spread", "shared"), WORLDS)
def test_the_interval_of_an_estimate_covers_the_true_accuracy(
    seeds: int, images: int, spread: float, shared: float
) -> None:
    made, _ = worlds(seeds, images, spread, shared)
    true = float(stats.norm.cdf(1.0 / math.sqrt(1 + spread**2 + shared**2)))
    found = [estimate(first.mean(axis=1).tolist(), images) for first, _ in made]
    assert np.mean([each.low <= true <= each.high for each in found]) >= 0.93


def test_the_interval_of_one_seed_is_no_wider_than_it_must_be() -> None:
    made, true = worlds(1, 100, 0.0, 1.0)
    assert covered([compare_images(*sides) for sides in made], true) <= 0.98


def test_images_held_against_each_other_show_more_than_counts_do() -> None:
    made, _ = worlds(1, 100, 0.0, 2.0, count=50)
    for first, second in made:
        by_image, by_count = compare_images(first, second), compare_proportions(accuracies(first), accuracies(second))
        assert by_image.high - by_image.low < by_count.high - by_count.low


def accuracies(judged: Judged) -> list[Accuracy]:
    return [Accuracy(int(row.sum()), len(row)) for row in judged]

from __future__ import annotations

import random
from contextlib import suppress

import numpy as np
import torch

from rcframe.training.randomness import generator_states, restore_generators, seed_everything, seeded

Drawn = tuple[float, float, float]


def draw() -> Drawn:
    return float(torch.rand(())), random.random(), float(np.random.rand())


def test_every_generator_starts_from_seed_and_names() -> None:
    seed_everything(3, "a", 1)
    first = draw()
    draw()
    seed_everything(3, "a", 1)
    assert draw() == first


def test_other_seeds_and_other_names_draw_otherwise() -> None:
    drawn: list[Drawn] = []
    for seed, *names in [(3, "a"), (4, "a"), (3, "b"), (3, "a", "a")]:
        seed_everything(int(seed), *map(str, names))
        drawn.append(draw())
    assert len({value for values in drawn for value in values}) == 12


def test_saved_generators_go_on_where_they_were() -> None:
    saved = generator_states()
    first = draw()
    seed_everything(1)
    restore_generators(saved)
    assert draw() == first


def test_a_seeded_block_repeats_and_disturbs_nobody() -> None:
    saved = generator_states()
    undisturbed = draw()
    restore_generators(saved)
    with seeded(0, "block"):
        first = draw()
    assert draw() == undisturbed
    with seeded(0, "block"):
        assert draw() == first


def test_a_failing_block_disturbs_nobody_either() -> None:
    saved = generator_states()
    undisturbed = draw()
    restore_generators(saved)
    with suppress(ZeroDivisionError), seeded(0, "block"):
        draw()
        raise ZeroDivisionError
    assert draw() == undisturbed

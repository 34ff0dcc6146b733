"""The process's random generators: started from names, saved and restored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from rcframe.seeding import derive


class Generators(TypedDict):
    """States of every generator a method may draw from."""

    torch: Tensor
    cuda: list[Tensor]
    python: object
    numpy: object


def seed_everything(seed: int, *names: str | int) -> None:
    """Start all global generators from (seed, names), whatever was drawn before."""
    start = derive(seed, *names)
    torch.manual_seed(start)
    random.seed(start)
    np.random.seed(start % 2**32)


def generator_states() -> Generators:
    """Return the states of all global generators."""
    return Generators(
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        python=random.getstate(),
        numpy=np.random.get_state(),
    )


def restore_generators(states: Generators) -> None:
    """Set all global generators to saved states."""
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
    random.setstate(states["python"])  # type: ignore[arg-type]  # an opaque state of the same generator
    np.random.set_state(states["numpy"])  # type: ignore[arg-type]


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Run with generators started from (seed, names) and give everybody their own state back afterwards."""
    before = generator_states()
    seed_everything(seed, *names)
    try:
        yield
    finally:
        restore_generators(before)

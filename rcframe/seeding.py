"""Seeds derived from one seed and names, so that no part of a run shifts the randomness of another."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def derive(seed: int, *names: str | int) -> int:
    """Return a seed in 0..2^63-1 that is fixed by `seed` and the names in their order."""
    # JSON keeps `1` and `"1"`, and `"ab", "c"` and `"a", "bc"`, apart.
    text = json.dumps([seed, *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """Return a fresh CPU generator seeded with `derive(seed, *names)`."""
    import torch

    return torch.Generator().manual_seed(derive(seed, *names))

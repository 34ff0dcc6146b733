"""Which classes a targeted attack aims at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from rcframe import Oracle

Target = Literal["none", "random", "least-likely", "all"]


def aims(
    target: Target, source: Oracle, x: Tensor, y: Tensor, *, rounds: int = 1, most: int | None = None
) -> list[Tensor | None]:
    """Return the target classes (B,) of every try of `rounds`; None is a try without targets.

    Likely and unlikely are what the model finds of the images themselves, in one query; never is a label its own
    target. `most` limits how many tries a round of `all` has.
    """
    if target == "none":
        return [None] * rounds
    others = _other_classes(source, x, y)
    return [aim for _ in range(rounds) for aim in _round(target, others, most)]


def _round(target: Target, others: Tensor, most: int | None) -> Iterator[Tensor]:
    """Yield targets (B,) among the classes (B, classes - 1), most likely first."""
    if target == "all":
        yield from others[:, :most].unbind(dim=1)
    elif target == "least-likely":
        yield others[:, -1]
    else:
        drawn = torch.randint(others.shape[1], (len(others), 1), device=others.device)
        yield others.gather(1, drawn).squeeze(1)


def _other_classes(source: Oracle, x: Tensor, y: Tensor) -> Tensor:
    """Return the classes (B, classes - 1) that are not the label, most likely first."""
    with torch.no_grad():
        order = source.logits(x).argsort(dim=1, descending=True)
    return order[order != y.unsqueeze(1)].view(len(y), -1)

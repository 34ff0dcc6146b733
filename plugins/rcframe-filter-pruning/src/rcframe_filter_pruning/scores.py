"""How much a filter matters."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Criterion = Literal["l1", "folded", "random", "largest"]


def l1_norms(weight: Tensor) -> Tensor:
    """Return `s_j = sum |W_j|` (out,) over everything but the first dimension; bias and batch norm are left out."""
    return weight.detach().abs().flatten(1).sum(dim=1)


def filter_scores(
    layer: nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d | None, criterion: Criterion
) -> Tensor:
    """Score the filters (out,) of a layer; those with the lowest scores are removed.

    Behind batch norm the scale of raw weights is arbitrary; `folded` multiplies by what the norm that follows makes of
    it, |gamma| / sigma. `random` and `largest` are the controls that a claim about `l1` needs.
    """
    scores = l1_norms(layer.weight)
    if criterion == "random":
        return torch.rand_like(scores)
    if criterion == "largest":
        return -scores
    if criterion == "folded" and norm is not None and norm.running_var is not None:
        gamma = torch.ones_like(scores) if norm.weight is None else norm.weight.detach().abs()
        return scores * gamma / (norm.running_var + norm.eps).sqrt()
    return scores


def strongest(scores: Tensor, ratio: float) -> Tensor:
    """Return the indices (kept,) of all but the `ratio` weakest filters, in their original order; one always stays."""
    # The slack keeps a ratio such as 29/100 of 100 filters from falling to 28 by rounding.
    removed = min(math.floor(ratio * len(scores) + 1e-9), len(scores) - 1)
    return scores.argsort(descending=True, stable=True)[: len(scores) - removed].sort().values

"""Means of a stage's metrics over an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from rcframe.training.compute import Compute


class Means:
    """Running means of metrics, kept as tensors so that nothing waits for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._weights: dict[str, float] = {}

    def add(self, name: str, value: Tensor | float, share: float = 1.0) -> None:
        """Take in one value; `share` is that of its batch (`Batch.share`)."""
        detached = value.detach() if isinstance(value, Tensor) else value
        self._sums[name] = self._sums.get(name, 0.0) + (detached if share == 1.0 else detached * share)
        self._weights[name] = self._weights.get(name, 0.0) + share

    def read(self, compute: Compute | None = None) -> dict[str, float]:
        """Return the means so far, over all processes of `compute`."""
        values = {name: (float(total), self._weights[name]) for name, total in self._sums.items()}
        if compute is not None and compute.count > 1:
            totals = compute.total(torch.tensor(list(values.values()), dtype=torch.float64)).tolist()
            values = {name: (total, weight) for name, (total, weight) in zip(values, totals, strict=True)}
        return {name: total / weight for name, (total, weight) in values.items()}

    def state_dict(self) -> dict[str, object]:
        """Return sums and weights."""
        return {"sums": {name: float(total) for name, total in self._sums.items()}, "weights": dict(self._weights)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from saved sums and weights."""
        self._sums = dict(cast("dict[str, Tensor | float]", state["sums"]))
        self._weights = dict(cast("dict[str, float]", state["weights"]))

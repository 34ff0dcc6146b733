"""Networks that answer together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

#: What is averaged over the members.
Average = Literal["logits", "probabilities"]


class EnsembleNetwork(nn.Module):
    """Runs every member on the same images; `forward` returns one set of logits (B, classes)."""

    def __init__(self, members: Sequence[nn.Module], average: Average) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.average = average

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean answer (B, classes) to images (B, C, H, W)."""
        outputs = torch.stack([member(x) for member in self.members])
        return mean_logits(outputs) if self.average == "logits" else mean_probabilities(outputs)

    def extra_repr(self) -> str:
        """Say what is averaged: of two ensembles with equal layers, it tells which computes what."""
        return f"average={self.average}"


def mean_logits(outputs: Tensor) -> Tensor:
    """Equation (1): `z = 1/M sum_m z_m`; logits (M, B, classes) of M members to (B, classes)."""
    return outputs.mean(dim=0)


def mean_probabilities(outputs: Tensor) -> Tensor:
    """Equation (2): `z = log(1/M sum_m softmax(z_m))`; logits (M, B, classes) of M members to (B, classes)."""
    log_p = outputs.log_softmax(dim=2)
    return log_p.logsumexp(dim=0) - torch.log(log_p.new_tensor(len(outputs)))

"""Sparsity masks: which weights of a network are kept at zero."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rcframe.training.observer import Observer
from rcframe.training.stage import Stage


class Masks(Observer):
    """Keeps masked weights at exactly zero through every update of a stage.

    Masks are keyed by parameter name relative to the stage's target; True means alive. Weights are zeroed after each
    step and gradients are left alone, so methods that regrow weights still see what masked weights would gain.
    """

    def __init__(self, alive: Mapping[str, Tensor]) -> None:
        self.alive = dict(alive)

    def apply(self, target: nn.Module) -> None:
        """Zero the masked weights of `target`."""
        parameters = dict(target.named_parameters())
        with torch.no_grad():
            for name, mask in self.alive.items():
                parameters[name].mul_(mask.to(parameters[name].device))

    def begin(self, stage: Stage) -> None:
        """Start from a masked target."""
        self.apply(stage.target)

    def after_update(self, stage: Stage) -> None:
        """Undo what momentum and weight decay did to masked weights."""
        self.apply(stage.target)

    def state_dict(self) -> dict[str, object]:
        """Return the masks."""
        return dict(self.alive)

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on with saved masks."""
        self.alive = {name: mask for name, mask in state.items() if isinstance(mask, Tensor)}


def keep_largest(weights: Mapping[str, Tensor], density: float) -> dict[str, Tensor]:
    """Return masks that keep the largest `density` fraction of all weights together, by magnitude."""
    sizes = torch.cat([weight.detach().abs().flatten() for weight in weights.values()])
    keep = max(1, round(density * sizes.numel()))
    alive = torch.zeros_like(sizes, dtype=torch.bool)
    alive[sizes.topk(keep).indices] = True
    parts = torch.split(alive, [weight.numel() for weight in weights.values()])
    return {name: part.view_as(weight) for (name, weight), part in zip(weights.items(), parts, strict=True)}


def prunable(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights that pruning may touch: those with two or more dimensions, so no biases and no batch norm."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.dim() >= 2}

"""What foretells a teacher's layer from a student's, and what of the student is not needed for that."""

from __future__ import annotations

import math

import torch
from torch import nn

from rcframe import evaluating, find_tap
from rcframe_distill.depths import Shape


def regressor(own: Shape, theirs: Shape) -> nn.Module:
    """Return a layer that foretells outputs of shape `theirs` from outputs of shape `own`.

    Between maps it is a convolution without padding, whose kernel is as large as the difference of the sizes asks for:
    1x1 where they are equal, or the teacher's are larger. Anything else takes a linear layer.
    """
    if len(own) == 3 and len(theirs) == 3:
        kernel = (max(1, own[1] - theirs[1] + 1), max(1, own[2] - theirs[2] + 1))
        return nn.Conv2d(own[0], theirs[0], kernel)
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(own), math.prod(theirs)))


def later_layers(network: nn.Module, tap: str, x: torch.Tensor) -> list[nn.Module]:
    """Return the innermost layers that have not run yet when the layer `tap` has; `x` is a batch (B, C, H, W)."""
    earlier: set[nn.Module] = set()
    reached = False

    def note(layer: nn.Module) -> None:
        if not reached:
            earlier.add(layer)

    def stop() -> None:
        nonlocal reached
        reached = True

    innermost = [part for part in network.modules() if not any(part.children())]
    hooks = [part.register_forward_hook(lambda layer, _i, _o: note(layer)) for part in innermost]
    hooks.append(find_tap(network, tap).register_forward_hook(lambda _m, _i, _o: stop()))
    try:
        with evaluating(network), torch.no_grad():
            network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return [part for part in innermost if part not in earlier]

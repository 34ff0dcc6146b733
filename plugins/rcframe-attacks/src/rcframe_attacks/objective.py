"""What gradient attacks climb: functions of logits (B, classes) that rise as an image is pushed off its class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from rcframe import Oracle, RequestError

#: A value (B,) for logits (B, classes), labels (B,) and, where the attack has them, target classes (B,).
Objective = Callable[[Tensor, Tensor, Tensor | None], Tensor]
Loss = Literal["ce", "cw", "dlr"]

_TINY = 1e-12


def confusion(logits: Tensor, y: Tensor) -> Tensor:
    """Return `log sum_{j != y} exp z_j - z_y` for every row of `logits` (B, classes); `y` is (B,).

    Cross-entropy is `log(1 + exp(confusion))`, so its gradient is this one's times a positive number: directions and
    signs are those of cross-entropy, but they survive when a confident network's cross-entropy underflows to 0.
    """
    return _without(logits, y).logsumexp(dim=1) - _at(logits, y)


def cross_entropy(logits: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the confusion (B,) about the labels, or the certainty about the targets where there are any."""
    return confusion(logits, y) if targets is None else -confusion(logits, targets)


def margin(logits: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return `max_{j != y} z_j - z_y` (B,), or `z_t - z_y` where there are targets t."""
    rival = _without(logits, y).amax(dim=1) if targets is None else _at(logits, targets)
    return rival - _at(logits, y)


def logits_ratio(logits: Tensor, y: Tensor, targets: Tensor | None = None) -> Tensor:
    """Return the margin (B,) over `z_1 - z_3`, or over `z_1 - (z_3 + z_4) / 2` with targets; z_1 is the largest logit.

    Croce and Hein's difference of logits ratio: it is the same for logits of any scale.
    """
    needed = 3 if targets is None else 4
    if logits.shape[1] < needed:
        raise RequestError(
            f"`loss=dlr` compares with the {'third' if needed == 3 else 'fourth'} largest logit"
            f"{'' if needed == 3 else ' when it has a target'}, but this model has {logits.shape[1]} classes: "
            f"choose `loss=cw` or `loss=ce`."
        )
    largest = logits.topk(needed, dim=1).values
    return margin(logits, y, targets) / (largest[:, 0] - largest[:, 2:].mean(dim=1) + _TINY)


def objective(loss: Loss) -> Objective:
    """Return what is climbed under this name."""
    match loss:
        case "ce":
            return cross_entropy
        case "cw":
            return margin
        case "dlr":
            return logits_ratio


def misclassified(logits: Tensor, y: Tensor) -> Tensor:
    """Return which rows (B,) have another class on top than their label, or no number: the kernel counts those so."""
    return (logits.argmax(dim=1) != y) | logits.isnan().any(dim=1)


def look(
    source: Oracle, x: Tensor, y: Tensor, climbed: Objective, targets: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the logits (B, classes) at `x` and the gradient (B, C, H, W) of the summed objective: one pass each."""
    x = x.detach().requires_grad_(True)
    logits = source.logits(x)
    # The sum, since a mean would shrink the gradients of a large batch towards what float32 rounds to 0.
    (gradient,) = torch.autograd.grad(climbed(logits, y, targets).sum(), x)
    return logits.detach(), gradient


def look_in_pieces(
    source: Oracle, x: Tensor, y: Tensor, climbed: Objective, targets: Tensor | None, most: int
) -> tuple[Tensor, Tensor]:
    """Do the same with at most about `most` images at a time."""
    count = -(-len(x) // most)
    if count <= 1:
        return look(source, x, y, climbed, targets)
    aims = [None] * count if targets is None else targets.tensor_split(count)
    parts = zip(x.tensor_split(count), y.tensor_split(count), aims, strict=True)
    logits, gradients = zip(*(look(source, *part[:2], climbed, part[2]) for part in parts), strict=True)
    return torch.cat(logits), torch.cat(gradients)


def ascent_direction(source: Oracle, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient (B, C, H, W) of the summed confusion with respect to the images."""
    return look(source, x, y, cross_entropy)[1]


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes.unsqueeze(1)).squeeze(1)


def _without(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.scatter(1, classes.unsqueeze(1), float("-inf"))

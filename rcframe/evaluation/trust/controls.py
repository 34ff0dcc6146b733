"""The kernel's own attacks: simple, bounded in what they ask, and there to be beaten by every attack of a run."""

from __future__ import annotations

import torch
from torch import Tensor

from rcframe.access import Access
from rcframe.api import Attack
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.options import component, option

#: A step of a climb, as a multiple of eps over the number of steps: so that it can cross the ball and come back.
_STRIDE = 2.5


@component
class RandomCorners(Attack):
    """Points as far away as the threat allows, in random directions, until one is misclassified."""

    access = Access.LABEL
    norms = ("linf", "l2")
    iterated = False

    draws: int = option(default=16, help="How many points are tried.")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Draw without looking at the model, and keep what is misclassified."""
        best = x
        for _ in range(self.draws):
            tried = threat.project(x + threat.eps * _direction(torch.randn_like(x), threat), x)
            best = torch.where(_each(source.labels(tried) != y, x), tried, best)
        return best


@component
class Climb(Attack):
    """Steps along the gradient from the image itself; a single one ends as far away as eps.

    It climbs the logarithm of the other classes' odds, whose direction is that of cross-entropy while both can be
    computed, but which does not vanish when outputs are large.
    """

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")

    steps: int = option(default=20, help="How many steps are taken.")
    stop: bool = option(default=True, help="Whether an image is left where it is first misclassified.")

    def thorough(self) -> Climb:
        """Return the same attack, which takes every step."""
        return Climb(steps=self.steps, stop=False)

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Step until an image is misclassified, or to the end."""
        step = threat.eps * _STRIDE / self.steps
        moved = x
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_(True)
            logits = source.logits(moved)
            going = logits.argmax(dim=1) == y if self.stop else torch.ones_like(y, dtype=torch.bool)
            if not bool(going.any()):
                break
            uphill = _direction(gradient(other_odds(logits, y), moved).nan_to_num(0.0, 0.0, 0.0), threat)
            moved = torch.where(_each(going, x), threat.project(moved.detach() + step * uphill, x), moved.detach())
        return moved.detach()


@component
class RandomSearch(Attack):
    """Random patches of changed pixels, kept where the margin falls: no gradient is needed.

    Patches shrink from half an image's side to a pixel or so, as in the square attack of Andriushchenko et al. (2020).
    """

    access = Access.LOGITS
    norms = ("linf", "l2")

    tries: int = option(default=100, help="How many patches are tried.")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Propose, ask, keep what helps; images that are misclassified are left where they are."""
        best, least = x, margins(source.logits(x), y)
        for number in range(self.tries):
            if not bool((least > 0).any()):
                break
            share = 0.5 * (1 - number / self.tries)
            tried = threat.project(best + _patches(x, share, threat), x)
            margin = margins(source.logits(tried), y)
            better = (margin < least) & (least > 0)
            best, least = torch.where(_each(better, x), tried, best), torch.where(better, margin, least)
        return best


def margins(logits: Tensor, y: Tensor) -> Tensor:
    """Return `z_y - max_{j != y} z_j` (B,) of logits (B, classes); at most 0 where an image is misclassified."""
    return _own(logits, y) - _others(logits, y).amax(dim=1)


def other_odds(logits: Tensor, y: Tensor) -> Tensor:
    """Return `log sum_{j != y} exp z_j - z_y` (B,) of logits (B, classes)."""
    return _others(logits, y).logsumexp(dim=1) - _own(logits, y)


def gradient(objective: Tensor, x: Tensor) -> Tensor:
    """Return the gradient (B, C, H, W) of the summed objective (B,); zeros where it does not depend on `x` at all."""
    if not objective.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(objective.sum(), x, allow_unused=True)
    return torch.zeros_like(x) if found is None else found


def _own(logits: Tensor, y: Tensor) -> Tensor:
    return logits.gather(1, y.unsqueeze(1)).squeeze(1)


def _others(logits: Tensor, y: Tensor) -> Tensor:
    return logits.scatter(1, y.unsqueeze(1), float("-inf"))


def _each(mask: Tensor, x: Tensor) -> Tensor:
    """Return a mask (B,) in a shape that chooses among images (B, C, H, W)."""
    return mask.view(-1, *[1] * (x.dim() - 1))


def _direction(towards: Tensor, threat: Threat) -> Tensor:
    """Return the longest step (B, C, H, W) of length 1 in the threat's norm along `towards`."""
    if threat.norm == "linf":
        return towards.sign()
    length: Tensor = torch.linalg.vector_norm(towards.flatten(1), dim=1).clamp_min(1e-12)
    return towards / length.view(-1, *[1] * (towards.dim() - 1))


def _patches(x: Tensor, share: float, threat: Threat) -> Tensor:
    """Return for every image (B, C, H, W) a change of random colour in a random rectangle, and none elsewhere.

    Its sides are `share` of the image's. It is long enough to turn every pixel of the patch around in linf, and to be
    half of the whole change in l2.
    """
    inside = _stretches(x, 2, share).unsqueeze(1).unsqueeze(3) & _stretches(x, 3, share).unsqueeze(1).unsqueeze(2)
    colour = torch.randint(0, 2, (*x.shape[:2], 1, 1), device=x.device).to(x.dtype) * 2 - 1
    change = _direction(colour * inside, threat)
    return threat.eps * change * (2.0 if threat.norm == "linf" else 0.5)


def _stretches(x: Tensor, axis: int, share: float) -> Tensor:
    """Return for every image (B,) a random stretch (B, size) of an axis."""
    size = x.shape[axis]
    length = max(1, round(share * size))
    first = torch.randint(0, size - length + 1, (len(x), 1), device=x.device)
    places = torch.arange(size, device=x.device)
    return (places >= first) & (places < first + length)

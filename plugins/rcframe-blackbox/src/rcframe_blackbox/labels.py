"""What labels alone tell: a misclassified start, the way to the boundary, and the slope at the boundary."""

from __future__ import annotations

import math

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

from rcframe import Norm, Oracle, Threat
from rcframe_blackbox.shapes import per_image, unit

#: Images per query, unless one for every image of the batch is more.
_AT_ONCE = 1024
#: The sides of the grids that noise is drawn on, in turn, None being every pixel; after one round follows one of noise
#: that is 0 or 1 only. Networks that see one class in all even noise see others in this.
_GRIDS = (None, 2, 4, 1)


@attrs.frozen(eq=False)
class Start:
    """Misclassified images (B, C, H, W) to start from: which (B,) were found, and what each cost in queries (B,)."""

    images: Tensor
    found: Tensor
    cost: Tensor


def noisy_start(source: Oracle, x: Tensor, y: Tensor, tries: int) -> Start:
    """Draw noise for every image until the network sees another class in it, at most `tries` times."""
    images, cost = x.clone(), torch.zeros_like(y)
    left = torch.arange(len(x), device=x.device)
    for attempt in range(tries):
        if not len(left):
            break
        round_of_grids, grid = divmod(attempt, len(_GRIDS))
        noise = noise_on_grid(x[left], _GRIDS[grid])
        noise = noise.round() if round_of_grids % 2 else noise
        cost[left] += 1
        errs = source.labels(noise) != y[left]
        images[left[errs]] = noise[errs]
        left = left[~errs]
    found = torch.ones_like(y, dtype=torch.bool)
    found[left] = False
    return Start(images, found, cost)


def noise_on_grid(like: Tensor, side: int | None) -> Tensor:
    """Return uniform noise in [0, 1] like the images (B, C, H, W), constant on the cells of a `side` x `side` grid."""
    if side is None:
        return torch.rand_like(like)
    coarse = torch.rand(*like.shape[:2], side, side, dtype=like.dtype, device=like.device)
    return F.interpolate(coarse, size=like.shape[2:], mode="nearest")


def halvings(tolerance: float) -> int:
    """Return how often an interval is halved until it is shorter than this part of it."""
    return math.ceil(math.log2(1 / tolerance))


def to_boundary(source: Oracle, x: Tensor, y: Tensor, outside: Tensor, norm: Norm, times: int) -> Tensor:
    """Return the misclassified points nearest to `x` on the ways from there to the misclassified `outside`.

    The way in l2 is the straight line; in linf, the point of `outside` in a ball that grows around `x`. The interval
    in which the boundary lies is halved `times` times, each for one query per image.
    """
    reach = (outside - x).flatten(1).abs().amax(dim=1) if norm == "linf" else torch.ones_like(x.flatten(1)[:, 0])
    low, high = torch.zeros_like(reach), reach
    for _ in range(times):
        middle = (low + high) / 2
        errs = source.labels(_towards(x, outside, middle, norm)) != y
        low, high = torch.where(errs, low, middle), torch.where(errs, middle, high)
    # An end that was never moved is `outside` itself, to the last bit.
    return torch.where(per_image(high < reach, x), _towards(x, outside, high, norm), outside)


def _towards(x: Tensor, outside: Tensor, way: Tensor, norm: Norm) -> Tensor:
    part = per_image(way, x)
    if norm == "linf":
        return torch.minimum(torch.maximum(outside, x - part), x + part)
    return x + part * (outside - x)


def boundary_slope(
    source: Oracle, points: Tensor, y: Tensor, threat: Threat, width: Tensor, evaluations: int
) -> Tensor:
    """Estimate in which direction (B, C, H, W) misclassification lies, from `evaluations` labels around each point.

    Equation: the mean of `(phi(x + width u) - mean of phi) u` over directions u of length 1, where phi is 1 where the
    network errs and -1 elsewhere; where it is the same everywhere its mean stays. `width` is (B,). Neighbours are moved
    into the pixel range, and u is the way that they really went.
    """
    total, plain, signs, done = torch.zeros_like(points), torch.zeros_like(points), torch.zeros_like(width), 0
    while done < evaluations:
        count = min(evaluations - done, max(1, _AT_ONCE // len(points)))
        u = _directions((count, *points.shape), points, threat.norm)
        near = (points + per_image(width, points) * u).clamp(*threat.bounds)
        u = (near - points) / per_image(width, points)
        errs = source.labels(near.flatten(0, 1)) != y.repeat(count)
        phi = errs.view(count, -1).to(points.dtype) * 2 - 1
        total += torch.einsum("kb,kb...->b...", phi, u)
        plain, signs, done = plain + u.sum(dim=0), signs + phi.sum(dim=0), done + count
    mean = signs / evaluations
    mean = torch.where(mean.abs() == 1, 0.0, mean)
    return unit(total - per_image(mean, points) * plain)


def _directions(shape: tuple[int, ...], like: Tensor, norm: Norm) -> Tensor:
    """Draw directions (K, B, C, H, W) of length 1: evenly in l2, from a cube in linf."""
    drawn = torch.randn(shape, dtype=like.dtype, device=like.device)
    if norm == "linf":
        drawn = torch.rand(shape, dtype=like.dtype, device=like.device) * 2 - 1
    return unit(drawn.flatten(0, 1)).view(shape)

"""HopSkipJump (Chen et al., 2020)."""

from __future__ import annotations

import itertools
import math

import attrs
import torch
from torch import Tensor

from rcframe import Access, Attack, Norm, Oracle, Threat, at_least, changed, component, option
from rcframe_blackbox.labels import boundary_slope, halvings, noisy_start, to_boundary
from rcframe_blackbox.shapes import per_image

#: The width of the first estimate, in pixels, and how finely the first line is searched; from the authors' code.
_FIRST_WIDTH = 0.1
_FIRST_TOLERANCE = 1e-3
#: No search is finer than this part of the way, where float32 ends.
_FINEST = 1e-5
#: A step that was halved so often in vain is not taken.
_HALVINGS = 25


@attrs.define(eq=False)
class Walk:
    """The images that still walk: their places in the batch (b,), where each stands, and what it cost so far (b,)."""

    places: Tensor
    x: Tensor
    y: Tensor
    points: Tensor
    spent: Tensor

    def only(self, which: Tensor) -> Walk:
        """Go on with some of the images; `which` is a mask (b,)."""
        return Walk(self.places[which], self.x[which], self.y[which], self.points[which], self.spent[which])


@component
class HopSkipJump(Attack):
    """Walks along the decision boundary towards the image, seeing nothing but labels.

    Chen, Jordan, Wainwright: "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack" (IEEE S&P 2020). Untargeted,
    true labels. From noise that is misclassified it goes to the boundary by bisection. There it estimates from the
    labels around it in which direction misclassification lies, steps there, and bisects again. The nearest point met is
    returned; where no noise was misclassified, the image as it was.
    """

    queries: int = option(default=2000, help="The most labels asked for per image.", check=at_least(1))
    evaluations: int = option(
        default=100, help="Labels for the first estimate; the t-th takes sqrt(t) times as many.", check=at_least(2)
    )
    tries: int = option(
        default=200, help="The most noise images per image that are tried as a start.", check=at_least(1)
    )

    access = Access.LABEL
    norms = ("linf", "l2")
    nearest = True

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the nearest misclassified point met for each of `x`, whatever its distance."""
        nearest, distance = x.clone(), torch.full_like(x.flatten(1)[:, 0], float("inf"))
        walk = self._begin(source, x, y, threat)
        search = halvings(tolerance(x, threat.norm))
        for turn in itertools.count(1):
            reached = threat.distance(walk.points, walk.x)
            nearer = reached < distance[walk.places]
            places = walk.places[nearer]
            nearest[places], distance[places] = walk.points[nearer], reached[nearer]
            evaluations = int(self.evaluations * math.sqrt(turn))
            walk = walk.only(walk.spent + evaluations + search < self.queries)
            if not len(walk.places):
                break
            self._hop(source, walk, threat, turn, evaluations)
            walk.points = to_boundary(source, walk.x, walk.y, walk.points, threat.norm, search)
            walk.spent += search
        return nearest

    def stronger(self) -> HopSkipJump:
        """Return it with twice the labels."""
        return changed(self, queries=2 * self.queries)

    def _begin(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Walk:
        """Put every image that is right, and for which a start is found, on the boundary."""
        right = source.labels(x) == y
        walk = Walk(torch.arange(len(x), device=x.device), x, y, x, torch.ones_like(y)).only(right)
        search = halvings(tolerance(x, threat.norm))
        line = halvings(_FIRST_TOLERANCE) if threat.norm == "linf" else 0
        start = noisy_start(source, walk.x, walk.y, min(self.tries, self.queries - 1 - line - search))
        walk.points, walk.spent = start.images, walk.spent + start.cost
        walk = walk.only(start.found)
        if len(walk.places):
            if line:
                walk.points = to_boundary(source, walk.x, walk.y, walk.points, "l2", line)
            walk.points = to_boundary(source, walk.x, walk.y, walk.points, threat.norm, search)
        walk.spent += line + search
        return walk

    def _hop(self, source: Oracle, walk: Walk, threat: Threat, turn: int, evaluations: int) -> None:
        """Estimate the slope at every point and move there: by distance / sqrt(turn), or half of it, and so on.

        What the search for the boundary costs afterwards is left.
        """
        length = threat.distance(walk.points, walk.x)
        width = torch.full_like(length, _FIRST_WIDTH) if turn == 1 else length / walk.x[0].numel()
        direction = boundary_slope(source, walk.points, walk.y, threat, width, evaluations)
        if threat.norm == "linf":
            direction = direction.sign()
        walk.spent += evaluations
        length, left = length / math.sqrt(turn), torch.arange(len(length), device=length.device)
        search = halvings(tolerance(walk.x, threat.norm))
        for _ in range(_HALVINGS):
            left = left[walk.spent[left] + search < self.queries]
            if not len(left):
                break
            moved = (walk.points[left] + per_image(length[left], direction) * direction[left]).clamp(*threat.bounds)
            errs = source.labels(moved) != walk.y[left]
            walk.spent[left] += 1
            walk.points[left[errs]] = moved[errs]
            left = left[~errs]
            length[left] /= 2


def tolerance(x: Tensor, norm: Norm) -> float:
    """Return how finely ways to the boundary are searched: d^-3/2 in l2, d^-2 in linf, d being the count of pixels."""
    dimension = float(x[0].numel())
    return max(1 / dimension**2 if norm == "linf" else 1 / (dimension * math.sqrt(dimension)), _FINEST)

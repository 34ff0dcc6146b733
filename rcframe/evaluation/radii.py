"""Certified radii: how far around each image a certifier can prove its label, found by bisection."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from typing import cast

import attrs
import torch
from torch import Tensor, nn

from rcframe.api import Certifier
from rcframe.evaluation.evaluate import CERTIFY_BATCH, Evaluator, once
from rcframe.evaluation.threat import Threat
from rcframe.storage.keeper import Keeper

#: How often the range of a radius is halved.
_HALVINGS = 10
#: What is tried first where the run's own radius is zero.
_SMALL = 1 / 255
_STATE = ("low", "high", "halved", "tried")


@attrs.frozen
class Radii:
    """Certified radii of `n` images, 0 for those that are not even right."""

    mean: float
    median: float
    #: The standard deviation over images.
    std: float
    n: int

    @classmethod
    def of(cls, radii: Tensor) -> Radii:
        """Describe radii (n,)."""
        values = radii.double().tolist()
        return cls(statistics.fmean(values), statistics.median(values), statistics.pstdev(values), len(values))


@attrs.define(eq=False)
class RadiusSearch:
    """The search for the radii of some images; it can be kept and continued like a stage.

    What comes next depends only on how far each image is, so a search that goes on meets the same batches.
    """

    #: Unique within a run.
    name: str
    #: Which images (n,) are right: the others have no radius.
    right: Tensor
    #: Its radius is tried first, or a small one where it is zero.
    threat: Threat
    #: The largest radius that makes sense.
    most: float
    #: What determines the radii, or None where that cannot be told.
    determined_by: Mapping[str, str] | None
    #: Equal streams draw equal random numbers.
    stream: str = ""
    #: The largest radius that was proved and the smallest that was not (n,), how often that range was halved, and how
    #: often any radius was tried.
    _low: Tensor = attrs.field(init=False)
    _high: Tensor = attrs.field(init=False)
    _halved: Tensor = attrs.field(init=False)
    _tried: Tensor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        count = len(self.right)
        self._low = torch.zeros(count, dtype=torch.float64)
        self._high = torch.full((count,), math.inf, dtype=torch.float64)
        self._halved = torch.where(self.right, 0, _HALVINGS)
        self._tried = torch.zeros(count, dtype=torch.int64)

    @property
    def radii(self) -> Tensor:
        """The largest radii (n,) that were proved: float32."""
        return self._low.float()

    @property
    def done(self) -> int:
        """How many images' worth of the work is done."""
        return int(self._halved.sum()) // _HALVINGS

    def next(self, most_images: int) -> tuple[float, Tensor] | None:
        """Return the radius to try next and for which images (B,), or None if all are done.

        Those that were tried least come first, so all that want one radius meet before any of them wants another.
        """
        open_ = (self._halved < _HALVINGS).nonzero().squeeze(1)
        if not len(open_):
            return None
        wanted = self._wanted()[open_]
        least = self._tried[open_] == self._tried[open_].min()
        radius = wanted[least].min()
        return float(radius), open_[least & (wanted == radius)][:most_images]

    def _wanted(self) -> Tensor:
        """Return what is to be tried next for each image (n,): twice as much until it fails, then the middle."""
        further = (2 * self._low).clamp(min=min(self.threat.eps or _SMALL, self.most), max=self.most)
        return torch.where(self._high.isinf(), further, (self._low + self._high) / 2)

    def note(self, radius: float, which: Tensor, proved: Tensor) -> None:
        """Write down for which (B,) of the images `which` (B,) a radius was proved."""
        halving = self._high[which].isfinite()
        self._low[which[proved]] = radius
        self._high[which[~proved]] = radius
        self._halved[which[halving]] += 1
        self._tried[which] += 1
        if radius >= self.most:
            self._halved[which[proved]] = _HALVINGS

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines the radii."""
        return None if self.determined_by is None else {"name": self.name, **self.determined_by}

    def check(self) -> None:
        """Radii are always worth keeping."""

    def state_dict(self) -> Mapping[str, object]:
        """Return how far each image is; all processes know the same."""
        return {name: getattr(self, f"_{name}").clone() for name in _STATE}

    def final_state(self) -> Mapping[str, object]:
        """Return the same."""
        return self.state_dict()

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a saved state."""
        for name in _STATE:
            setattr(self, f"_{name}", cast(Tensor, state[name]).clone())


def largest_radius(threat: Threat, shape: tuple[int, ...]) -> float:
    """Return the radius within which every image of this shape (C, H, W) lies, whatever the centre."""
    low, high = threat.bounds
    return (high - low) * (1.0 if threat.norm == "linf" else math.sqrt(math.prod(shape)))


def find_radii(
    evaluator: Evaluator, places: Tensor, module: nn.Module, certifier: Certifier, search: RadiusSearch
) -> Tensor:
    """Return the certified radii (n,) of the images at `places` (n,)."""
    say = once(evaluator.say)
    with evaluator.keeper.keeping(search) as finished:
        evaluator.progress(len(places) if finished else search.done)
        while not finished and (batch := search.next(CERTIFY_BATCH * evaluator.compute.count)):
            (radius, which), before = batch, search.done
            part = attrs.evolve(
                evaluator,
                images=evaluator.images.subset(places[which]),
                count=len(which),
                keeper=Keeper(),
                progress=lambda images: None,
                say=say,
            )
            threat, tally = attrs.evolve(search.threat, eps=radius), part.tally(search.name, stream=search.stream)
            search.note(radius, which, part.certified(module, certifier, threat, tally))
            evaluator.progress(search.done - before)
            evaluator.keeper.progressed(search)
    return search.radii

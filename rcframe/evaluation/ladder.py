"""Which radius breaks an image first: looked for on a grid, so that a curve costs little more than a point of it.

An image that is broken at one radius is broken at every larger one of the same norm. So for each image an adversarial
image is found at some radius, and the attack fails at the next smaller one; what lies beyond is never tried.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import cast

import attrs
import torch
from torch import Tensor

from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.tally import Tally

#: Fewer images than this hardly take less time, so others that are near join them.
_WORTHWHILE, _NEAR = 32, 2
#: Float32 takes a distance for larger than it is by less than this fraction.
_ROUNDING = 1e-5
_STATE = ("low", "high", "streak", "guess", "answers", "linf", "l2")


class Way(enum.Enum):
    """In what order radii are tried."""

    #: Where the image is likely to break, then next to it.
    SEARCH = "search"
    #: From the smallest on: a larger radius is no help to an attack that takes a single step.
    ASCENT = "ascent"
    #: Not at all: the attack looks for the nearest image, and how far that is says everything.
    KNOWN = "known"


@attrs.frozen(eq=False)
class Start:
    """What is known of the images (n,) before the search."""

    #: Which are right as they are, and which at the largest radius.
    clean: Tensor
    largest: Tensor
    #: How far those were moved that the largest radius broke; None if that says nothing.
    moved: Tensor | None = None


@attrs.define(eq=False)
class Ladder:
    """The search for the radii that break some images; it can be kept and continued like a stage.

    A rung is the number of a radius, from 1 on. What comes next depends only on how far each image is, so a search that
    goes on meets the same batches.
    """

    #: Unique within a run.
    name: str
    #: The radii, from the smallest to the largest, each more than 0.
    points: tuple[float, ...]
    start: Start
    way: Way
    #: What determines the radii, or None where that cannot be told.
    determined_by: Mapping[str, str] | None
    #: Equal streams draw equal random numbers.
    stream: str = ""
    queries: Queries = attrs.field(factory=Queries)
    faults: Faults = attrs.field(factory=Faults)
    #: What the images (n,) were taken for, and how far they were moved, where they were broken here last.
    answers: Tensor = attrs.field(init=False)
    linf: Tensor = attrs.field(init=False)
    l2: Tensor = attrs.field(init=False)
    #: The highest rung that an image withstood and the lowest that broke it (n,): 0 is the image as it is, one more
    #: than there are rungs is nowhere.
    _low: Tensor = attrs.field(init=False)
    _high: Tensor = attrs.field(init=False)
    #: How often in a row it was broken, or withstood if negative.
    _streak: Tensor = attrs.field(init=False)
    #: Where it is likely to break; 0 if nobody knows.
    _guess: Tensor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        count, top = len(self.start.clean), len(self.points)
        self.answers = torch.zeros(count, dtype=torch.int16)
        self.linf, self.l2 = torch.zeros(count), torch.zeros(count)
        self._streak, self._guess = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.int64)
        broken = self.start.clean & ~self.start.largest
        reached = torch.full((count,), top) if self.start.moved is None else self._rung(self.start.moved)
        self._high = torch.where(broken, reached, top + 1).where(self.start.clean, 0)
        self._low = torch.where(self.start.clean, 0, -1)
        if self.way is Way.KNOWN:
            self._low = self._high - 1
        self._settle()

    def _rung(self, moved: Tensor) -> Tensor:
        """Return the lowest rung (n,) within which images lie that were moved so far."""
        grid = torch.tensor(self.points, dtype=torch.float64)
        found = torch.searchsorted(grid, moved.double() * (1 - _ROUNDING)) + 1
        return found.clamp(max=len(self.points))

    def _settle(self) -> None:
        """Know of images that withstood the largest radius that they need not be asked there again."""
        least = len(self.points) - 1 if self.way is Way.ASCENT else 0
        self._low[self.start.clean & self.start.largest & (self._low >= least)] = len(self.points)

    @property
    def breaks(self) -> Tensor:
        """The rung (n,) that breaks each image first: 0 for the wrong ones, one more than there are for nowhere."""
        return self._high

    @property
    def done(self) -> int:
        """How many images are done."""
        return int((self._high - self._low == 1).sum())

    @property
    def unguided(self) -> Tensor:
        """The places (k,) of images for which a guess would help: there are many rungs, and nothing was tried."""
        wanted = self.way is Way.SEARCH and len(self.points) > _NEAR + 1
        fresh = (self._guess == 0) & (self._streak == 0) & (self._high - self._low > 1)
        return fresh.nonzero().squeeze(1) if wanted else torch.zeros(0, dtype=torch.int64)

    def guide(self, which: Tensor, guess: Tensor) -> None:
        """Begin the search for the images `which` (k,) at these rungs (k,), 0 for those of which nothing is known."""
        self._guess[which] = torch.where(guess > 0, guess.long(), -1)

    def next(self, most_images: int) -> tuple[int, Tensor] | None:
        """Return the rung to try next and for which images (B,), or None if all are done."""
        open_ = (self._high - self._low > 1).nonzero().squeeze(1)
        if not len(open_):
            return None
        wanted = self._wanted(open_)
        rung = int(wanted.min() if self.way is Way.ASCENT else torch.bincount(wanted).argmax())
        away = (wanted - rung).abs()
        inside = (self._low[open_] < rung) & (rung < self._high[open_])
        near = inside & (away <= _NEAR) if self.way is Way.SEARCH else away == 0
        count = max(int((away == 0).sum()), min(int(near.sum()), _WORTHWHILE))
        order = torch.where(near, away, len(self.points) + 1).argsort(stable=True)[:count]
        return rung, open_[order[:most_images].sort().values]

    def _wanted(self, which: Tensor) -> Tensor:
        """Return what is to be tried next for the images `which` (B,): the guess, then its neighbours, then further."""
        low, high, streak, guess = self._low[which], self._high[which], self._streak[which], self._guess[which]
        if self.way is Way.ASCENT:
            return low + 1
        stride = 2 ** (streak.abs() - 2).clamp(min=0)
        # The guess is a little too far on the whole; below it, an attack that fails ends the search.
        tried = torch.where(streak > 0, high - stride, low + stride)
        wanted = torch.where(guess > 0, torch.where(streak == 0, guess - 1, tried), (low + high) // 2)
        return torch.maximum(torch.minimum(wanted, high - 1), low + 1)

    def note(self, rung: int, which: Tensor, right: Tensor, tally: Tally, moved: Tensor | None = None) -> None:
        """Write down which of the images `which` (B,) withstood a rung, and how far the others were moved."""
        broken = which[~right]
        reached = torch.full((len(broken),), rung)
        if moved is not None:
            reached = torch.minimum(reached, self._rung(moved[~right]))
        # Nothing that was withstood before is called broken now: the bounds would cross.
        self._high[broken] = torch.maximum(reached, self._low[broken] + 1)
        self._low[which[right]] = rung
        streak = self._streak[which]
        self._streak[which] = torch.where(right, streak.clamp(max=0) - 1, streak.clamp(min=0) + 1)
        self.answers[broken], self.linf[broken], self.l2[broken] = (
            noted[~right] for noted in (tally.answers, tally.linf, tally.l2)
        )
        self._settle()

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines the radii."""
        points = " ".join(map(repr, self.points))
        return None if self.determined_by is None else {"name": self.name, **self.determined_by, "radii": points}

    def check(self) -> None:
        """What was found is always worth keeping."""

    def state_dict(self) -> Mapping[str, object]:
        """Return how far each image is, and what was asked; all processes know the same."""
        state: dict[str, object] = {name: self._named(name).clone() for name in _STATE}
        return state | {"queries": self.queries.state_dict(), "faults": self.faults.state_dict()}

    def final_state(self) -> Mapping[str, object]:
        """Return the same."""
        return self.state_dict()

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a saved state."""
        for name in _STATE:
            self._named(name).copy_(cast(Tensor, state[name]))
        self.queries.load_state_dict(cast("Mapping[str, object]", state["queries"]))
        self.faults.load_state_dict(cast("Mapping[str, object]", state["faults"]))

    def _named(self, name: str) -> Tensor:
        found: Tensor = getattr(self, name if name in ("answers", "linf", "l2") else f"_{name}")
        return found

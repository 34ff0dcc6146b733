"""What measurements found, image by image; reports and evidence are made from this."""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs
import torch
from torch import Tensor

from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.flags import Findings
from rcframe.evaluation.ladder import Ladder
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.tally import Tally
from rcframe.options import Number

#: What the figures under every attack at once are called.
WORST_CASE = "worst case"
#: What the figures of what leaves in the place of a guarded teacher's answers are called.
RELEASED = "released"
#: On which images the student names the teacher's class.
AGREEMENT = "agreement"
#: How far the confidence of a network is from its accuracy.
CALIBRATION_ERROR = "calibration error"


@attrs.frozen(eq=False)
class Fall:
    """Where images break on a curve."""

    #: The radii of the curve, from the smallest to the largest.
    points: tuple[Number, ...]
    #: The smallest of them that breaks each image (n,): 0 for those that are wrong as they are, inf for none; float32.
    breaking: Tensor
    #: What was asked besides the measurement at the largest radius.
    queries: Queries = attrs.field(factory=Queries)

    @classmethod
    def of(cls, points: tuple[Number, ...], ladder: Ladder) -> Fall:
        """Read the result of a search; its rungs are those of the points that are more than 0."""
        radii = torch.tensor([0.0, *ladder.points, math.inf])
        return cls(points, radii[ladder.breaks], ladder.queries)

    def right(self, point: float) -> Tensor:
        """Return which images (n,) are right at one of the points."""
        # The points are compared as the float32 that they were stored as.
        return self.breaking > torch.tensor(point).to(self.breaking)


@attrs.frozen(eq=False, kw_only=True)
class Outcome:
    """What one measurement found of `n` images."""

    #: Which are right (n,): bool.
    right: Tensor
    #: What they were taken for (n,): int16, -1 where an output was no number. None where nobody asked.
    answers: Tensor | None = None
    #: How far those were moved that the attack broke (n,): float32, 0 for all others.
    linf: Tensor | None = None
    l2: Tensor | None = None
    queries: Queries | None = None
    faults: Faults | None = None
    #: What became of some of the images (k, C, H, W): uint8.
    pictures: Tensor | None = None
    #: What was answered (n, classes): float32. None where nobody kept it.
    logits: Tensor | None = None
    fall: Fall | None = None

    @classmethod
    def of(cls, right: Tensor, tally: Tally) -> Outcome:
        """Collect what stands in a tally that was read."""
        return cls(
            right=right.cpu(),
            answers=tally.answers,
            linf=tally.linf,
            l2=tally.l2,
            queries=tally.queries,
            faults=tally.faults,
            pictures=tally.album.pictures if tally.album else None,
            logits=tally.logits if tally.classes else None,
        )

    def along(self, points: tuple[Number, ...], ladder: Ladder) -> Outcome:
        """Return this with a curve; what only a smaller radius broke is broken at the largest too."""
        right = ladder.breaks > len(ladder.points)
        late = self.right & ~right
        faults, found = self.faults or Faults(), ladder.faults

        def noted(before: Tensor | None, after: Tensor) -> Tensor | None:
            return None if before is None else torch.where(late, after, before)

        return attrs.evolve(
            self,
            right=right,
            answers=noted(self.answers, ladder.answers),
            linf=noted(self.linf, ladder.linf),
            l2=noted(self.l2, ladder.l2),
            faults=Faults(faults.outside + found.outside, faults.broken + found.broken),
            fall=Fall.of(points, ladder),
        )


@attrs.define(eq=False, kw_only=True)
class Outcomes:
    """What was found of one model."""

    #: The classes that the measured images (n,) belong to: int64.
    labels: Tensor
    clean: Outcome
    #: What leaves in the place of its answers, where its owner guards these.
    released: Outcome | None = None
    #: Classes of which no image was measured.
    unseen: tuple[str, ...] = ()
    attacked: dict[str, Outcome] = attrs.field(factory=dict)
    certified: dict[str, Outcome] = attrs.field(factory=dict)
    #: Certified radii of some of the images (m,).
    radii: dict[str, Tensor] = attrs.field(factory=dict)

    @property
    def worst_case(self) -> Outcome | None:
        """What withstood every attack, image by image; None for fewer than two attacks."""
        if len(self.attacked) < 2:
            return None
        outcomes = list(self.attacked.values())
        falls = [outcome.fall for outcome in outcomes if outcome.fall]
        breaking = torch.stack([fall.breaking for fall in falls]).amin(dim=0) if falls else None
        return Outcome(
            right=torch.stack([outcome.right for outcome in outcomes]).all(dim=0) & self.clean.right,
            fall=None if breaking is None else Fall(falls[0].points, breaking),
        )

    def named(self) -> Iterator[tuple[str, Outcome]]:
        """Yield every outcome with the name under which evidence keeps it."""
        yield "clean", self.clean
        if self.released:
            yield RELEASED, self.released
        yield from self.attacked.items()
        if worst := self.worst_case:
            yield WORST_CASE, worst
        for spec, outcome in self.certified.items():
            yield f"certified by {spec}", outcome

    def findings(self) -> Findings:
        """Return what the reasons for distrust are looked for in."""
        attacked = self.attacked.items()
        return Findings(
            clean=self.clean.right,
            labels=self.labels,
            answers=self.clean.answers,
            unseen=self.unseen,
            attacked={spec: outcome.right for spec, outcome in attacked},
            certified={spec: outcome.right for spec, outcome in self.certified.items()},
            queries={spec: outcome.queries for spec, outcome in attacked if outcome.queries},
            faults={spec: outcome.faults for spec, outcome in attacked if outcome.faults},
            pictures={spec: outcome.pictures for spec, outcome in attacked if outcome.pictures is not None},
            radii=dict(self.radii),
        )

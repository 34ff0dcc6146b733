"""Examining a measured network: what speaks against its figures, found with a bounded number of questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

import attrs
from torch import Tensor

from rcframe.evaluation.album import evenly
from rcframe.evaluation.trust.comparisons import (
    effort_flags,
    gradient_free_flags,
    large_eps_flags,
    noise_flags,
    single_step_flags,
    transfer_flags,
    weak_attack_flags,
)
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.evaluation.trust.health import answer_flags, pixel_flags
from rcframe.evaluation.trust.slopes import gradient_flags
from rcframe.evaluation.trust.suspect import MANY, Suspect, some_of
from rcframe.storage.keeper import Keeper
from rcframe.training.randomness import seeded

Check = Callable[[Suspect], Iterator[Flag]]


def _sample(suspect: Suspect) -> Tensor:
    """Return measured images (B, C, H, W), right or wrong."""
    measured = len(suspect.findings.clean)
    return suspect.batch(evenly(measured, min(MANY, measured)))[0]


def _pixels(suspect: Suspect) -> Iterator[Flag]:
    return pixel_flags(_sample(suspect))


def _answers(suspect: Suspect) -> Iterator[Flag]:
    return answer_flags(suspect.role, suspect.module, _sample(suspect))


def _gradients(suspect: Suspect) -> Iterator[Flag]:
    x, y = suspect.batch(some_of(suspect.withstood, MANY))
    return gradient_flags(suspect.role, suspect.module, x, y, suspect.threat)


#: What must be in order before anything else can be judged, in words that complete "whether ... was not checked".
_FIRST: dict[str, Check] = {
    "pixels are in range": _pixels,
    "answers are repeatable": _answers,
}
_THEN: dict[str, Check] = {
    "there are gradients": _gradients,
    "noise is weaker": noise_flags,
    "more effort is of no use": effort_flags,
    "a single step is weaker": single_step_flags,
    "a random search is weaker": gradient_free_flags,
    "images from the other network are weaker": transfer_flags,
    "an iterated attack is no stronger": weak_attack_flags,
    "nothing withstands a large eps": large_eps_flags,
}


def examine(suspect: Suspect) -> Iterator[Flag]:
    """Yield what speaks against the figures of a network that was attacked; nothing where it was not.

    A network whose answers change by themselves is not examined further: whatever a control broke might be chance.
    """
    if not suspect.attacks or suspect.threat.eps == 0 or not len(suspect.findings.clean):
        return
    for what, check in _FIRST.items():
        found = list(_guarded(suspect, what, check))
        yield from found
        if found:
            return
    for what, check in _THEN.items():
        yield from _guarded(suspect, what, check)


def _guarded(suspect: Suspect, what: str, check: Check) -> Iterator[Flag]:
    """Yield what a check finds; one that fails must not cost a run the figures it has measured."""
    try:
        with seeded(suspect.seed, "trust", what):
            found = list(check(suspect))
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        found = [
            Flag(
                Kind.UNCHECKED,
                f"whether {what} was not checked for the {suspect.role}: {type(error).__name__}: {reason}",
            )
        ]
    yield from found


@attrs.define(eq=False)
class Examination:
    """An examination as a piece of work: kept with the run, and not done twice."""

    #: Unique within a run.
    name: str
    #: What determines the outcome besides the network and its images, or None where that cannot be told.
    determined_by: Mapping[str, str] | None
    flags: tuple[Flag, ...] = ()

    @classmethod
    def of(cls, role: str, parts: Sequence[Mapping[str, str] | None]) -> Examination:
        """Return one that is determined by all `parts`: those of every attack, and of the other network of the run.

        None among them means that one cannot be told.
        """
        told = [f"{number}: {dict(sorted(part.items()))}" for number, part in enumerate(parts) if part is not None]
        return cls(f"{role}: trust", {"held against": "; ".join(told)} if len(told) == len(parts) else None)

    def carry_out(self, suspect: Suspect, keeper: Keeper) -> tuple[Flag, ...]:
        """Return the flags of a network, found now or earlier."""
        with keeper.keeping(self) as finished:
            if not finished:
                self.flags = tuple(examine(suspect))
        return self.flags

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines the flags."""
        return None if self.determined_by is None else {"name": self.name, **self.determined_by}

    def check(self) -> None:
        """Flags are always worth keeping."""

    def state_dict(self) -> Mapping[str, object]:
        """Return the flags."""
        return {"flags": [[flag.kind.value, str(flag)] for flag in self.flags]}

    def final_state(self) -> Mapping[str, object]:
        """Return the same."""
        return self.state_dict()

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Take over saved flags."""
        self.flags = tuple(Flag(Kind(kind), text) for kind, text in cast("list[list[str]]", state["flags"]))

"""What a check found against a figure, as a sentence."""

from __future__ import annotations

import enum


class Kind(enum.StrEnum):
    """The reasons to distrust a figure; docs/trust.md explains each."""

    FEW_IMAGES = "few images"
    UNSEEN_CLASSES = "unseen classes"
    CHANCE = "no better than chance"
    RULED_OUT = "classes ruled out"
    DIFFERENCE = "difference within noise"
    CERTIFICATE = "broken certificate"
    FAULTS = "faulty attack"
    PIXELS = "pixels out of range"
    TRAINING_MODE = "training mode"
    RANDOM = "random answers"
    BATCH = "answers depend on the batch"
    NO_GRADIENT = "no gradient"
    SATURATED = "saturated outputs"
    NOISE = "noise as strong"
    SINGLE_STEP = "single step stronger"
    GRADIENT_FREE = "gradient-free stronger"
    TRANSFER = "transfer stronger"
    WEAK_ATTACKS = "weak attacks only"
    MORE_EFFORT = "more effort helps"
    LARGE_EPS = "withstands large eps"
    UNCHECKED = "not checked"


#: While one of these holds, what an attack breaks may be chance, and no attack can be held against another.
UNSETTLED = frozenset({Kind.PIXELS, Kind.TRAINING_MODE, Kind.RANDOM, Kind.BATCH})
#: What it means that iterated gradient attacks find less than another.
MISLED = "its gradients mislead the iterated attacks, or these take too few steps"
STUCK = "the iterated attacks got stuck or take too few steps; give them more, steps of another size, or a random start"


class Flag(str):
    """A sentence that says what was found and what it means, and knows of which kind it is."""

    kind: Kind

    def __new__(cls, kind: Kind, sentence: str) -> Flag:
        """Write down a finding."""
        flag = super().__new__(cls, sentence)
        flag.kind = kind
        return flag

    def __reduce__(self) -> tuple[type[Flag], tuple[Kind, str]]:
        return Flag, (self.kind, str(self))


def kind_of(flag: str) -> str:
    """Name the kind of a flag, as docs/trust.md does; nothing where an older report kept the sentence alone."""
    return str(flag.kind) if isinstance(flag, Flag) else ""

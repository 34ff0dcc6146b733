"""What a check found against a figure, as a sentence."""

from __future__ import annotations

import enum


class Kind(enum.StrEnum):
    """The reasons to distrust a figure; docs/trust.md explains each."""

    FEW_IMAGES = "few images"
    UNSEEN_CLASSES = "unseen classes"
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

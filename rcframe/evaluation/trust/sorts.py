"""What an attack rests on, which decides what it may be held against."""

from __future__ import annotations

import enum

from rcframe.access import Access
from rcframe.api import Attack


class Sort(enum.StrEnum):
    """The sorts of attacks, by what they ask of whom."""

    NOISE = "noise"
    TRANSFER = "transfer"
    GRADIENT_FREE = "gradient-free"
    SINGLE_STEP = "single step"
    ITERATED = "iterated"


#: Sorts that follow the gradient of the attacked network itself.
BY_GRADIENT = (Sort.SINGLE_STEP, Sort.ITERATED)


def sort_of(attack: Attack) -> Sort:
    """Tell the sort of an attack from its traits."""
    if attack.surrogate is not None:
        return Sort.TRANSFER
    if not attack.access:
        return Sort.NOISE
    if Access.INPUT_GRAD not in attack.access:
        return Sort.GRADIENT_FREE
    return Sort.ITERATED if attack.iterated else Sort.SINGLE_STEP

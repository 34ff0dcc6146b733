"""A curve in one line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

RAMP = "▁▂▃▄▅▆▇█"
#: For terminals that know no more than ASCII.
PLAIN_RAMP = "_.-:=+*#"


def sparkline(values: Sequence[float], width: int, ramp: str = RAMP) -> str:
    """Draw a curve with at most `width` signs from the lowest to the highest of `ramp`.

    Of more values than that, the last of each of `width` equal groups is drawn. What is no number is left out.
    """
    numbers = [value for value in values if math.isfinite(value)]
    count = min(len(numbers), width)
    drawn = [numbers[(index + 1) * len(numbers) // count - 1] for index in range(count)]
    # Halved, so that the distance between two numbers is one, however large they are.
    halves = [value / 2 for value in drawn]
    low, high = min(halves, default=0.0), max(halves, default=0.0)
    if low == high:
        return ramp[len(ramp) // 2] * count
    return "".join(ramp[min(int((half - low) / (high - low) * len(ramp)), len(ramp) - 1)] for half in halves)

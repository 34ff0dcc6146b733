"""The radii of a run as typed: one number, a list such as `0,0.01,8/255`, or a range such as `0:0.1:0.005`."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal
from fractions import Fraction
from typing import cast

import attrs

from rcframe.errors import RequestError
from rcframe.options import Number

#: More points than anybody looks at; a step that lost its zeros would ask for many more.
_MOST_POINTS = 500
_EXAMPLES = "one number such as 8/255, a list such as 0,0.01,8/255, or a range such as 0:0.1:0.005"


@attrs.frozen
class Eps:
    """The radii in pixels that a run measures at."""

    #: The only radius, or the largest.
    largest: Number
    #: All of them where there are several, from the smallest to the largest.
    curve: tuple[Number, ...]
    typed: str


def read_eps(value: object) -> Eps:
    """Read the radii of a run however they were given, or refuse them with a sentence."""
    if isinstance(value, list | tuple):
        return _several(tuple(_point(item) for item in value), ",".join(map(str, value)))
    if isinstance(value, str) and ":" in value:
        return _several(_range(value), value)
    if isinstance(value, str) and "," in value:
        return _several(tuple(_point(item) for item in value.split(",")), value)
    only = _point(value)
    return Eps(only, (), str(only))


def _several(points: tuple[Number, ...], typed: str) -> Eps:
    if not points:
        raise RequestError(f"eps is an empty list, but it must be {_EXAMPLES}.")
    for before, after in itertools.pairwise(points):
        if not after > before:
            raise RequestError(
                f"eps is {typed}, but {after} follows {before}: name the radii from the smallest to the largest, each "
                f"once."
            )
    _refuse_many(len(points), typed)
    return Eps(points[-1], points if len(points) > 1 else (), typed)


def _point(value: object) -> Number:
    """Read one radius."""
    from rcframe.evaluation.threat import make_threat

    if isinstance(value, bool) or not isinstance(value, str | float | int):
        raise RequestError(f"eps is {value!r}, but it must be a number in pixels, such as 0.03 or 8/255.")
    # What makes no sense in one norm may make sense in another, and the norm may be given later.
    return cast(Number, make_threat(value.strip() if isinstance(value, str) else value, "l2").eps)


def _range(typed: str) -> tuple[Number, ...]:
    """Return the points of `from:to:step`, both ends included."""
    parts = [part.strip() for part in typed.split(":")]
    if len(parts) != 3:
        raise RequestError(f"eps is {typed}, but a range is written from:to:step, such as 0:0.1:0.005.")
    for part in parts:
        _point(part.removeprefix("-"))
    start, end, step = map(_exact, parts)
    if step <= 0:
        raise RequestError(f"eps is {typed}, but its step is {parts[2]}: it must be more than 0.")
    if min(start, end) < 0:
        raise RequestError(f"eps is {typed}, but a radius cannot be negative.")
    if end < start:
        raise RequestError(f"eps is {typed}, but its end is below its start: write from:to:step, such as 0:0.1:0.005.")
    steps = math.floor((end - start) / step)
    _refuse_many(steps + 1, typed)
    points = [start + number * step for number in range(steps + 1)]
    if points[-1] != end:
        points.append(end)
    denominator = math.lcm(*(_exact(part.rpartition("/")[2]).numerator for part in parts if "/" in part))
    return tuple(Number(_written(point, denominator)) for point in points)


def _refuse_many(count: int, typed: str) -> None:
    if count > _MOST_POINTS:
        raise RequestError(
            f"eps is {typed}, which is {count:,} radii, but a run takes {_MOST_POINTS} at most: make the steps larger."
        )


def _exact(text: str) -> Fraction:
    above, slash, below = text.partition("/")
    return Fraction(above.strip()) / Fraction(below.strip()) if slash else Fraction(text)


def _written(point: Fraction, denominator: int) -> str:
    """Write a radius the way a user would: 0.015, or 3/255 where the range was typed in such numbers."""
    if (point * denominator).denominator == 1 and denominator > 1 and point:
        return f"{point * denominator}/{denominator}"
    rest = point.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1:
        return f"{point.numerator}/{point.denominator}"
    return format(Decimal(point.numerator) / Decimal(point.denominator), "f")

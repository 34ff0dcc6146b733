"""Charts as data: lines of points with intervals, and the table that says the same."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from rcframe.evaluation.estimates import Estimate
from rcframe.findings.tables import NOTHING, Table

#: Lines that are told apart by colour; beyond that, marker and dashes alone do it.
COLOURS = 7
#: A range of values that spans more than this factor is drawn on a logarithmic axis.
_DECADE = 10


@attrs.frozen
class Point:
    """A value with its interval, if it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


@attrs.frozen
class Style:
    """How a line is told from the others."""

    number: int
    dashed: bool = False
    #: What a reader should look at first.
    thick: bool = False


@attrs.frozen
class Line:
    """A series of points."""

    name: str
    points: tuple[Point, ...]
    style: Style
    #: A band for many points, bars for few, neither if `plain`; a `mark` is a point that no line joins, a `level` a
    #: line without points.
    form: Literal["bars", "band", "plain", "mark", "level"] = "bars"


@attrs.frozen
class Axis:
    """An axis with its name and unit."""

    label: str
    log: bool = False
    #: Whole numbers only, such as epochs.
    whole: bool = False
    #: The ends, where they are fixed.
    low: float | None = None
    high: float | None = None
    #: Place ticks at the values that were measured.
    at_values: bool = False


@attrs.frozen(kw_only=True)
class Chart:
    """Lines over two axes."""

    x: Axis
    y: Axis
    lines: tuple[Line, ...]


def percent_point(x: float, estimate: Estimate) -> Point:
    """Place an accuracy, in percent; its interval ends where accuracies do."""
    return Point(x, 100 * estimate.mean, 100 * max(0.0, estimate.low), 100 * min(1.0, estimate.high))


def spans_decades(values: Iterable[float]) -> bool:
    """Say whether values are so far apart that a logarithmic axis shows them better."""
    known = list(values)
    return bool(known) and min(known) > 0 and max(known) / min(known) > _DECADE


def sentence(text: str) -> str:
    """Let a caption begin with a capital letter and end with a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def data_of(chart: Chart, title: str, notes: Sequence[str] = ()) -> Table:
    """Return the points of a chart as a table: a row for each x, for each line its values."""
    xs = sorted({point.x for line in chart.lines for point in line.points})
    names = told_apart([chart.x.label, *(line.name for line in chart.lines)])
    columns = names[:1]
    cells: list[list[str]] = [[number(x) for x in xs]]
    for name, line in zip(names[1:], chart.lines, strict=True):
        spread = any(point.low is not None for point in line.points)
        found = {point.x: point for point in line.points}
        columns += [name, *((f"{name}: low", f"{name}: high") if spread else ())]
        cells.append([_cell(found[x].y if x in found else None) for x in xs])
        if spread:
            cells.append([_cell(found[x].low if x in found else None) for x in xs])
            cells.append([_cell(found[x].high if x in found else None) for x in xs])
    return Table(title, tuple(columns), tuple(zip(*cells, strict=True)), tuple(notes))


def told_apart(names: Sequence[str]) -> list[str]:
    """Number names that occur more than once."""
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def _cell(value: float | None) -> str:
    return NOTHING if value is None else number(value)


def number(value: float) -> str:
    """Write a number with at most four digits that count."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.4g}"

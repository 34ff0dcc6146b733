"""Drawing charts as SVG that takes its colours from the page."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

from rcframe.reporting.chart import COLOURS, Axis, Chart, Line, Point, Style
from rcframe.reporting.section import Key
from rcframe.reporting.svg import FONT, PAPER, SERIES, canvas, svg_of
from rcframe.visible import visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Transform

#: In points: with texts of 10 points, these are legible when the page is 400 pixels wide.
_WIDTH, _HEIGHT = 360.0, 235.0
_BAR = 7.0
_LONGEST = 24
#: A tick label that is nearer to its neighbour than this fraction of the axis is left out.
_APART = 0.13
#: How far lines with intervals are moved apart.
_STEP = 2.2
_POINTED = ("bars", "mark")
_THICK = 3.2
_MARKERS = ("o", "s", "^", "D", "v", "X", "P", "*")
#: Points of a long line that carry its marker.
_MARKED = 8
_DASHES = ((), (1, 1.2), (5, 1, 1, 1))


def draw(chart: Chart, words: str) -> str:
    """Return a chart as an SVG element; `words` say what it shows."""
    with canvas(_WIDTH, _HEIGHT) as figure:
        axes = figure.add_axes((0.125, 0.17, 0.835, 0.73))
        joined = [line for line in chart.lines if line.form in _POINTED]
        for line in chart.lines:
            aside = joined.index(line) - (len(joined) - 1) / 2 if line in joined else 0.0
            _draw_line(axes, line, aside)
        _draw_axes(axes, chart)
        return svg_of(figure, words)


@attrs.frozen
class BarRow:
    """A value of each series under one name."""

    name: str
    values: tuple[float, ...]


def draw_bars(rows: Sequence[BarRow], label: str, words: str, *, largest: float | None = None) -> str:
    """Return rows of bars, from the top, as an SVG element; each series has the style of its number."""
    names = [_shortened(visible(row.name)) for row in rows]
    series = max(len(row.values) for row in rows)
    height = 52 + len(rows) * (series * _BAR + 7)
    left = min(0.45, (14 + max(map(len, names)) * 0.62 * FONT) / _WIDTH)
    from matplotlib.ticker import MaxNLocator

    with canvas(_WIDTH, height) as figure:
        axes = figure.add_axes((left, 40 / height, 0.96 - left, 1 - 48 / height))
        axes.grid(visible=False, axis="y")
        for number in range(series):
            places = [row + (number - (series - 1) / 2) * 0.8 / series for row in range(len(rows))]
            axes.barh(places, [row.values[number] for row in rows], 0.8 / series * 0.92, color=colour(Style(number)))
        axes.set_yticks(range(len(rows)), names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(rows) - 0.45, -0.55)
        axes.set_xlim(0, largest)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(label)
        return svg_of(figure, words)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def legend(lines: Sequence[Line]) -> tuple[Key, ...]:
    """Return the legend of lines, to stand beside the drawing: there it may be as long as it wants."""
    return tuple(Key(line.name, swatch(line.style, line.form)) for line in lines)


@functools.lru_cache(maxsize=256)
def swatch(style: Style, form: str) -> str:
    """Return a piece of a line as a small SVG element."""
    with canvas(30, 11) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, 1), ylim=(-1, 1))
        xs = [0.5] if form == "mark" else [0.03, 0.5, 0.97]
        _plot(axes, xs, [0.0] * len(xs), style, form, marked=[len(xs) // 2])
        return svg_of(figure)


@functools.lru_cache(maxsize=64)
def bar_swatch(number: int) -> str:
    """Return a piece of a bar as a small SVG element."""
    with canvas(14, 11) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.barh([0], [1], color=colour(Style(number)))
        return svg_of(figure)


def colour(style: Style) -> str:
    """Return what is drawn instead of the page's colour for a line."""
    return SERIES[style.number % COLOURS]


# -- pieces ---------------------------------------------------------------------------------------------------------


def _draw_line(axes: Axes, line: Line, aside: float) -> None:
    points = sorted(line.points, key=lambda point: point.x)
    xs, ys = [point.x for point in points], [point.y for point in points]
    if line.form == "band":
        axes.fill_between(xs, *_ends(points), color=colour(line.style), alpha=0.18, linewidth=0)
    elif line.form in _POINTED and any(point.low is not None for point in points):
        lows, highs = _ends(points)
        bars = axes.vlines(xs, lows, highs, color=colour(line.style), linewidth=1.1)
        bars.set_transform(_moved(axes, aside))
    (drawn,) = _plot(axes, xs, ys, line.style, line.form)
    drawn.set_transform(_moved(axes, aside))


def _moved(axes: Axes, steps: float) -> Transform:
    """Move a line a little to the side, so that intervals at the same place do not cover each other."""
    from matplotlib.transforms import ScaledTranslation

    figure = axes.get_figure(root=True)
    assert figure
    return axes.transData + ScaledTranslation(steps * _STEP / 72, 0, figure.dpi_scale_trans)


def _ends(points: Sequence[Point]) -> tuple[list[float], list[float]]:
    lows = [point.y if point.low is None else point.low for point in points]
    return lows, [point.y if point.high is None else point.high for point in points]


def _plot(
    axes: Axes,
    xs: Sequence[float],
    ys: Sequence[float],
    style: Style,
    form: str,
    marked: Sequence[int] | None = None,
) -> list[Line2D]:
    marker = None if form == "level" else _MARKERS[style.number % len(_MARKERS)]
    dashes = (3.2, 1.8) if style.dashed else _DASHES[style.number // COLOURS % len(_DASHES)]
    return axes.plot(
        xs,
        ys,
        color=colour(style),
        marker=marker,
        linewidth=_THICK if style.thick else None,
        # Of points that no line joins, each is seen by its marker alone.
        markevery=marked or (1 if form == "mark" else max(1, len(xs) // _MARKED)),
        markeredgewidth=1.2,
        # Hollow where the line is dashed, so that single points differ too.
        markerfacecolor=PAPER if style.dashed else colour(style),
        linestyle="none" if form == "mark" else (0, dashes) if dashes else "solid",
        clip_on=False,
    )


def _draw_axes(axes: Axes, chart: Chart) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    xs = sorted({point.x for line in chart.lines for point in line.points})
    for axis, scale, told in ((axes.xaxis, axes.set_xscale, chart.x), (axes.yaxis, axes.set_yscale, chart.y)):
        if told.log:
            scale("log")
        axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
        axis.set_minor_locator(NullLocator())
        if told.at_values:
            axis.set_major_locator(FixedLocator(_spaced(xs, told.log)))
        elif not told.log:
            axis.set_major_locator(MaxNLocator(6, integer=told.whole))
    axes.set_xlabel(chart.x.label)
    # Read without turning one's head.
    axes.set_title(chart.y.label, loc="left", fontsize=FONT, pad=9)
    _set_ends(axes, chart.x, chart.y)


def _set_ends(axes: Axes, x: Axis, y: Axis) -> None:
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)


def _spaced(values: Sequence[float], log: bool) -> list[float]:
    """Choose values whose labels do not touch each other: the first, then each that is far enough from the last."""
    places = [math.log(value) if log else value for value in values]
    kept: list[int] = []
    for index, place in enumerate(places):
        if not kept or place - places[kept[-1]] >= _APART * (places[-1] - places[0]):
            kept.append(index)
    return [values[index] for index in kept]


def _tick(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.4g}"

"""A comparison as tables, as JSON, and on a terminal."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from rcframe.findings.changes import Change, Effect
from rcframe.findings.comparison import ComparedFigure, ComparedRow, Comparison
from rcframe.findings.comparison_notes import gathered, legend, notes, summary
from rcframe.findings.tables import NOTHING, Table, render
from rcframe.visible import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as RichTable

FORMAT = 1
_EFFECTS: dict[Effect, str] = {"any": "yes", "rounding": "by rounding", "none": "no"}
#: Columns of a terminal in which numbers need not be folded.
_ROOMY = 60
_UNBOUNDED = 10_000
_ROW = "row"
_SAME_SETTINGS = "Settings, versions and code are the same."
_AMOUNTS = "So are calibration errors. Peaks are classes that get more than a tenth of a softened output."
_SAME_SIZES = "The sizes are equal."


def show(comparison: Comparison, console: Console) -> None:
    """Print a comparison; lines are only broken where a terminal is."""
    settings, figures = settings_table(comparison), figures_table(comparison)
    for line in legend(comparison):
        _say(visible(line), console)
    console.print()
    console.print(summary(comparison), style="bold", soft_wrap=True)
    console.print()
    if settings:
        console.print(_drawn(settings, console))
    else:
        console.print(_SAME_SETTINGS)
    console.print()
    console.print(_sectioned(attrs.evolve(figures, notes=()), console))
    console.print()
    for note in figures.notes:
        lines = textwrap.wrap(visible(note), console.width - 2) if console.is_terminal else [visible(note)]
        _say("* " + "\n  ".join(lines), console)


def _say(text: str, console: Console) -> None:
    console.print(text, markup=False, soft_wrap=True)


def _sectioned(table: Table, console: Console) -> RichTable:
    """Draw a line between the rows of a matrix, and name each once."""
    if table.columns[0] != _ROW:
        return _drawn(table, console)
    before = ("", *(row[0] for row in table.rows[:-1]))
    new = [row[0] != name for row, name in zip(table.rows, before, strict=True)]
    rows = tuple(row if first else ("", *row[1:]) for row, first in zip(table.rows, new, strict=True))
    drawn = _drawn(attrs.evolve(table, rows=rows), console)
    for line, next_is_new in zip(drawn.rows, [*new[1:], False], strict=True):
        line.end_section = next_is_new
    return drawn


def _drawn(table: Table, console: Console) -> RichTable:
    """Return a table in which, if room is short, first heads are folded, then words, and numbers only at last."""
    drawn = table.__rich__()
    cramped = console.measure(drawn, options=console.options.update(max_width=_UNBOUNDED)).maximum > console.width
    for place, column in enumerate(drawn.columns):
        column.overflow = "fold"
        column.no_wrap = table.numeric[place] and console.width >= _ROOMY
        if cramped:
            told = [row[place] for row in table.rows]
            column.max_width = max(map(len, [*told, *table.columns[place].split()]))
    return drawn


def written(comparison: Comparison, form: str) -> str:
    """Return a comparison as JSON, as CSV (the figures alone), or as tables in another form."""
    if form == "json":
        return json.dumps(as_json(comparison), indent=2) + "\n"
    if form == "csv":
        return render(exact_table(comparison), form)
    settings, figures = settings_table(comparison), figures_table(comparison)
    first = [] if settings else [_SAME_SETTINGS]
    said = (summary(comparison), *legend(comparison), *first, *figures.notes)
    tables = [*([settings] if settings else []), attrs.evolve(figures, notes=said)]
    return "\n".join(render(table, form) for table in tables)


def settings_table(comparison: Comparison) -> Table | None:
    """Return what was set otherwise; None if nothing was."""
    found = gathered((row.name, row.changes) for row in comparison.rows)
    if not found:
        return None
    title, columns = f"What was set otherwise{_in_row(comparison)}", ("setting", "A", "B", "can change results")
    if all(names is None for _, names in found):
        return Table(title, columns, tuple(_setting_cells(change) for change, _ in found))
    rows = (("; ".join(names) if names else "all", *_setting_cells(change)) for change, names in found)
    return Table(title, (_ROW, *columns), tuple(rows))


def _setting_cells(change: Change) -> tuple[str, ...]:
    return change.name, change.first, change.second, _EFFECTS[change.effect]


def figures_table(comparison: Comparison) -> Table:
    """Return the figures of both sides and how they differ; sizes only where they do."""
    several = len(comparison.rows) > 1
    alone = all(len(row.pairs) == 1 for row in comparison.rows)
    columns = ("figure", "A", "B", "B - A", "on these two networks" if alone else "verdict")
    shown = [(row, figure) for row, figure in _each(comparison) if (figure.sort, figure.verdict) != ("size", "equal")]
    rows = (_named(row, several) + _cells(row, figure, alone) for row, figure in shown)
    said = notes(comparison)
    if all(figure.sort != "size" for _, figure in shown):
        said = (_SAME_SIZES, *said)
    if any(figure.sort == "amount" for _, figure in shown):
        said = (_AMOUNTS, *said)
    said = ("Accuracies are in percent, their differences in points with 95% intervals.", *said)
    title = f"What came out{_in_row(comparison)}"
    return Table(title, (*((_ROW,) if several else ()), *columns), tuple(rows), said)


def _in_row(comparison: Comparison) -> str:
    """Name the only row that was compared, where there are others or it was picked."""
    told = len(comparison.rows) == 1 and (comparison.picked or any(comparison.alone))
    return f": {comparison.rows[0].name}" if told else ""


def _each(comparison: Comparison) -> Iterator[tuple[ComparedRow, ComparedFigure]]:
    return ((row, figure) for row in comparison.rows for figure in row.figures)


def _named(row: ComparedRow, several: bool) -> tuple[str, ...]:
    return (row.name,) if several else ()


def _cells(row: ComparedRow, figure: ComparedFigure, alone: bool) -> tuple[str, ...]:
    return (
        figure.name.replace("nonzero", "non-zero"),
        _value(figure, figure.first),
        _value(figure, figure.second),
        _difference(figure),
        figure.verdict if alone else _verdict(row, figure),
    )


def _verdict(row: ComparedRow, figure: ComparedFigure) -> str:
    """Say with a verdict that it holds for two networks, where nothing around it does."""
    return f"{figure.verdict}, one seed" if figure.verdict.endswith("noise") and len(row.pairs) == 1 else figure.verdict


def _value(figure: ComparedFigure, value: float | None) -> str:
    if value is None:
        return NOTHING
    if figure.sort == "amount":
        return f"{value / figure.unit:.2f}"
    return f"{100 * value:.1f}" if figure.sort == "accuracy" else f"{value:,.0f}"


def _difference(figure: ComparedFigure) -> str:
    found = figure.difference
    if found is None:
        return NOTHING
    if figure.sort != "size":
        digits = 1 if figure.sort == "accuracy" else 2
        # Adding zero takes the sign from what is rounded to it; that of an end says on which side of zero it is.
        mean, low, high = (number / figure.unit + 0.0 for number in (found.mean, found.low, found.high))
        return f"{round(mean, digits) + 0.0:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
    part = f" ({found.mean / figure.first:+.1%})" if figure.first else ""
    return f"{found.mean:+,.0f}{part}"


def exact_table(comparison: Comparison) -> Table:
    """Return all figures for programs: fractions, unrounded."""
    columns = ("row", "figure", "a", "b", "difference", "low", "high", "seeds", "images", "verdict")
    return Table("What came out", columns, tuple(_exact_cells(row, figure) for row, figure in _each(comparison)))


def _exact_cells(row: ComparedRow, figure: ComparedFigure) -> tuple[str, ...]:
    found = figure.difference
    numbers = attrs.astuple(found) if found else ("",) * 5
    sides = ("" if value is None else repr(value) for value in (figure.first, figure.second))
    return (row.name, figure.name, *sides, *map(str, numbers), _verdict(row, figure))


def as_json(comparison: Comparison) -> dict[str, object]:
    """Return the JSON object of a comparison."""
    (only_a, only_b), (path_a, path_b) = comparison.alone, comparison.paths
    return {
        "format": FORMAT,
        "a": str(path_a),
        "b": str(path_b),
        "summary": summary(comparison),
        "rows": [_row_as_json(row) for row in comparison.rows],
        "only_in_a": list(only_a),
        "only_in_b": list(only_b),
        "notes": list(notes(comparison)),
    }


def _row_as_json(row: ComparedRow) -> dict[str, object]:
    return {
        "name": row.name,
        "seeds": [[mine.report.seed, theirs.report.seed] for mine, theirs in row.pairs],
        "changes": [
            {"name": change.name, "a": change.first, "b": change.second, "can_change_results": _EFFECTS[change.effect]}
            for change in row.changes
        ],
        "figures": [
            {
                "name": figure.name,
                "a": figure.first,
                "b": figure.second,
                "verdict": _verdict(row, figure),
                "difference": attrs.asdict(figure.difference) if figure.difference else None,
                "reason": figure.reason,
            }
            for figure in row.figures
        ],
    }

"""Accuracy against eps as a table in a terminal, of one run or of several that differ in the seed."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from textwrap import wrap

import attrs
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from rcframe.session.report import Measurement, ModelReport, Report

#: More rows than these do not fit on a screen.
_MOST_POINTS = 25
#: Columns of characters that lines and blanks take: at the left of each cell, and at the right end.
_BORDER = 3
_WORST_CASE = "worst case"


def curves_of(reports: Sequence[Report]) -> Curves | None:
    """Return the accuracy at each radius, the mean over runs that differ in the seed; None without curves."""
    teachers = [dict(_curved(report.teacher)) for report in reports]
    students = [dict(_curved(report.student)) for report in reports]
    if not teachers[0]:
        return None
    points = next(iter(teachers[0].values())).curve
    rows = evenly_with_ends(len(points), _MOST_POINTS)
    columns = tuple(
        _Column(what, _cells([each[what] for each in teachers], rows), _cells([each[what] for each in students], rows))
        for what in teachers[0]
    )
    over = f", mean ± standard deviation over {len(reports)} seeds" if len(reports) > 1 else ""
    thinned = f"{len(rows)} of {len(points)} radii are shown; all are in the report. "
    monotone = "An image that is broken at one eps counts as broken at every larger one."
    return Curves(
        f"Accuracy against eps{over}",
        tuple(str(points[row].eps) for row in rows),
        columns,
        thinned + monotone if len(rows) < len(points) else monotone,
    )


def _curved(model: ModelReport) -> Iterator[tuple[str, Measurement]]:
    figures = dict(model.attacked)
    if model.worst_case:
        figures[_WORST_CASE] = model.worst_case
    figures |= {f"certified by {spec}": measured for spec, measured in model.certified.items()}
    return ((what, measured) for what, measured in figures.items() if measured.curve)


def _cells(runs: Sequence[Measurement], rows: Sequence[int]) -> tuple[str, ...]:
    return tuple(_cell([100 * measured.curve[row].result.value for measured in runs]) for row in rows)


def _cell(values: Sequence[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def evenly_with_ends(count: int, most: int) -> list[int]:
    """Return at most `most` of the places from 0 to `count`, evenly, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


@attrs.frozen
class _Column:
    """What one attack or certifier left of both networks, at each radius."""

    what: str
    teacher: tuple[str, ...]
    student: tuple[str, ...]

    def both(self) -> tuple[str, ...]:
        """Return teacher and student in one cell."""
        return tuple(f"{one} | {other}" for one, other in zip(self.teacher, self.student, strict=True))


@attrs.frozen
class _Drawn:
    """A column as it is drawn."""

    head: str
    cells: tuple[str, ...]

    @property
    def figures(self) -> int:
        """How wide the figures are."""
        return max(map(cell_len, self.cells))

    @property
    def width(self) -> int:
        """How wide the column is with its border; the words of its head may stand below each other."""
        return max(self.figures, *map(cell_len, self.head.split())) + _BORDER


@attrs.frozen
class Curves:
    """A table that is told how wide the terminal is, so that no name and no figure is ever cut or broken."""

    title: str
    eps: tuple[str, ...]
    columns: tuple[_Column, ...]
    note: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw teacher and student in one cell if that fits, else below each other."""
        names = tuple(column.what for column in self.columns)
        numbers = tuple(_numbered(names))
        heads = names if self._fits(names, options.max_width) else numbers
        if self._fits(heads, options.max_width):
            yield Text(f"{self.title}: teacher | student", style="italic")
            yield self._table(self._both(heads))
        else:
            heads = names if all(self._one_table(part, options.max_width) for part in self._apart(names)) else numbers
            for role, drawn in zip(("teacher", "student"), self._apart(heads), strict=True):
                for part in self._parts(drawn, options.max_width):
                    yield Text(f"{self.title}: {role}", style="italic")
                    yield self._table(part)
        yield Text(self.note)
        if heads is numbers:
            legend = [f"{number}: {name}" for number, name in zip(numbers, names, strict=True) if number != name]
            yield Text("\n".join(legend), overflow="fold")

    def _fits(self, heads: Sequence[str], width: int) -> bool:
        return self._one_table(self._both(heads), width)

    def _one_table(self, drawn: Sequence[_Drawn], width: int) -> bool:
        return len(list(self._parts(drawn, width))) == 1

    def _both(self, heads: Sequence[str]) -> list[_Drawn]:
        return [_Drawn(head, column.both()) for head, column in zip(heads, self.columns, strict=True)]

    def _apart(self, heads: Sequence[str]) -> tuple[list[_Drawn], list[_Drawn]]:
        teacher = [_Drawn(head, column.teacher) for head, column in zip(heads, self.columns, strict=True)]
        student = [_Drawn(head, column.student) for head, column in zip(heads, self.columns, strict=True)]
        return teacher, student

    def _parts(self, drawn: Sequence[_Drawn], width: int) -> Iterator[list[_Drawn]]:
        """Yield as many of the columns at a time as fit beside the radii."""
        room = width - 1 - _Drawn("eps", self.eps).width
        part: list[_Drawn] = []
        for column in drawn:
            if part and sum(each.width for each in part) + column.width > room:
                yield part
                part = []
            part.append(column)
        yield part

    def _table(self, drawn: Sequence[_Drawn]) -> Table:
        table = Table()
        for column in (_Drawn("eps", self.eps), *drawn):
            # Broken here, since a head that is narrower when broken would make the library break figures too.
            lines = wrap(column.head, column.width - _BORDER, break_long_words=False, break_on_hyphens=False)
            table.add_column(Text("\n".join(lines)), justify="right", overflow="fold")
        for cells in zip(self.eps, *(column.cells for column in drawn), strict=True):
            table.add_row(*map(Text, cells))
        return table


def _numbered(names: Sequence[str]) -> Iterator[str]:
    """Yield a number instead of each name but that of the worst case, which is short and no attack."""
    number = 0
    for name in names:
        number += name != _WORST_CASE
        yield name if name == _WORST_CASE else str(number)

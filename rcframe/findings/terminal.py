"""Tables on a terminal of any width: what is the same in every row is said once, and wide tables are cut."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import wrap

import attrs
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from rcframe.findings.tables import Table
from rcframe.visible import visible

#: Columns of characters that lines and blanks take: at the left of each cell, and at the right end.
_BORDER = 3
#: The first column names the rows; it may take this part of the width before it is folded.
_MOST_FOR_NAMES = 0.45


def print_table(table: Table, console: Console) -> None:
    """Print a table so that no cell is cut off."""
    for part in fitted(condensed(table), console.width):
        # Title and notes stand beside it: what belongs to a drawn table is broken at its width.
        console.print(Text(visible(part.title), style="italic"))
        console.print(_drawn(part))
        for note in part.notes:
            console.print(Text(visible(note), style="dim"))


def _drawn(table: Table) -> RichTable:
    """Draw the head of a column broken rather than its cells, which must not be folded for its sake."""
    drawn = RichTable()
    for place, (name, numeric) in enumerate(zip(table.columns, table.numeric, strict=True)):
        lines = wrap(visible(name), _width(table, place), break_long_words=False, break_on_hyphens=False)
        drawn.add_column(Text("\n".join(lines)), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(visible(cell)) for cell in row))
    return drawn


def condensed(table: Table) -> Table:
    """Return a table whose columns that are the same in every row have become a note."""
    if len(table.rows) < 2:
        return table
    same = [len({row[place] for row in table.rows}) == 1 for place in range(len(table.columns))]
    said = [f"{table.columns[place]} {table.rows[0][place]}" for place, alike in enumerate(same) if alike and place]
    kept = [place for place, alike in enumerate(same) if not (alike and place)]
    notes = (f"The same in every row: {', '.join(said)}.", *table.notes) if said else table.notes
    return attrs.evolve(
        table,
        columns=tuple(table.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        notes=notes,
    )


def fitted(table: Table, width: int) -> Iterator[Table]:
    """Yield tables that fit next to their names, with as many of the columns each as there is room for."""
    widths = [_width(table, place) + _BORDER for place in range(len(table.columns))]
    room = width - 1 - min(widths[0], int(width * _MOST_FOR_NAMES))
    parts: list[list[int]] = [[]]
    left = room
    for place in range(1, len(widths)):
        if widths[place] > left and parts[-1]:
            parts.append([])
            left = room
        parts[-1].append(place)
        left -= widths[place]
    for number, part in enumerate(parts):
        yield attrs.evolve(
            table,
            title=table.title if number == 0 else f"{table.title}, continued",
            columns=(table.columns[0], *(table.columns[place] for place in part)),
            rows=tuple((row[0], *(row[place] for place in part)) for row in table.rows),
            notes=table.notes if number == len(parts) - 1 else (),
        )


def _width(table: Table, place: int) -> int:
    """Return how wide a column is; the words of its head may stand below each other."""
    cells = [cell_len(row[place]) for row in table.rows]
    return max([*cells, *(cell_len(word) for word in table.columns[place].split())], default=0)

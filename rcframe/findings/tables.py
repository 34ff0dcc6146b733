"""Tables of text, and their forms: for the terminal, JSON, CSV, Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from rcframe.errors import RequestError, listed, nearest
from rcframe.visible import visible

if TYPE_CHECKING:
    from rich.table import Table as RichTable

#: What stands where there is no figure.
NOTHING = "-"
_NUMBER = re.compile(r"[-+]?[\d.]|nan\b|inf\b")
#: Wide enough that no row is ever broken.
_UNBOUNDED = 100_000
_MARKDOWN = re.compile(r"[\\`*<>|&$~]|(?<!\w)_|_(?!\w)")
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}


@attrs.frozen
class Table:
    """A table of text."""

    title: str
    #: Their names; no two are equal.
    columns: tuple[str, ...]
    #: One cell for each column.
    rows: tuple[tuple[str, ...], ...]
    #: What a reader must know besides.
    notes: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(f"two columns of `{self.title}` have one name: {listed(self.columns)}")
        if wrong := [row for row in self.rows if len(row) != len(self.columns)]:
            raise ValueError(f"`{self.title}` has {len(self.columns)} columns, but a row has other cells: {wrong[0]}")

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Say which columns hold numbers, which belong to the right."""
        return tuple(map(self._is_numeric, range(len(self.columns))))

    def _is_numeric(self, column: int) -> bool:
        told = [row[column] for row in self.rows if row[column] not in ("", NOTHING)]
        return bool(told) and all(_NUMBER.match(cell) for cell in told)

    def __rich__(self) -> RichTable:
        from rich.table import Table as RichTable
        from rich.text import Text

        # As `Text`, so that brackets in a user's names are not read as markup.
        drawn = RichTable(title=Text(visible(self.title)))
        drawn.caption = Text(visible("\n".join(self.notes))) if self.notes else None
        for place, (name, numeric) in enumerate(zip(self.columns, self.numeric, strict=True)):
            # The first column names the rows: a name that is cut or broken can be neither typed nor copied.
            drawn.add_column(
                Text(_line(name)), justify="right" if numeric else "left", overflow="fold", no_wrap=place == 0
            )
        for row in self.rows:
            drawn.add_row(*(Text(_line(cell)) for cell in row))
        return drawn


def _line(text: str) -> str:
    return visible(" ".join(text.split()))


def to_text(table: Table) -> str:
    """Return a table with aligned columns, as wide as it needs to be."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=_UNBOUNDED, highlight=False, color_system=None)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().splitlines()
    return "\n".join(line.rstrip() for line in lines) + "\n"


def to_json(table: Table) -> str:
    """Return a JSON object with `title`, `rows` as objects keyed by the columns' names, and `notes`."""
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return json.dumps({"title": table.title, "rows": rows, "notes": list(table.notes)}, indent=2) + "\n"


def to_csv(table: Table) -> str:
    """Return the columns' names and the rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """Return a table in GitHub's Markdown, with its title in bold before it and its notes as a list after it."""
    rules = ["---:" if numeric else "---" for numeric in table.numeric]
    rows = [_markdown_row(map(_in_markdown, row)) for row in (table.columns, *table.rows)]
    notes = ["", *(f"* {_in_markdown(note)}" for note in table.notes)] if table.notes else []
    return "\n".join([f"**{_in_markdown(table.title)}**", "", rows[0], _markdown_row(rules), *rows[1:], *notes]) + "\n"


def _markdown_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _in_markdown(text: str) -> str:
    return _MARKDOWN.sub(lambda found: f"\\{found[0]}", _line(text))


def to_latex(table: Table) -> str:
    r"""Return a `table` environment; it needs `\usepackage{booktabs}`."""
    kinds = "".join("r" if numeric else "l" for numeric in table.numeric)
    head, *rows = [" & ".join(map(_in_latex, row)) + r" \\" for row in (table.columns, *table.rows)]
    notes = [rf"\par\footnotesize {_in_latex(note)}" for note in table.notes]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_in_latex(table.title)}}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        head,
        r"\midrule",
        *rows,
        r"\bottomrule",
        r"\end{tabular}",
        *notes,
        r"\end{table}",
    ]
    return "% Needs \\usepackage{booktabs}.\n" + "\n".join(lines) + "\n"


def _in_latex(text: str) -> str:
    escaped = "".join(_LATEX.get(sign, sign) for sign in _line(text))
    # After the end of a row, a bracket or a star would be read as an argument of that.
    return f"{{{escaped[0]}}}{escaped[1:]}" if escaped[:1] in ("[", "*") else escaped


_RENDERERS: Mapping[str, Callable[[Table], str]] = {
    "table": to_text,
    "json": to_json,
    "csv": to_csv,
    "markdown": to_markdown,
    "latex": to_latex,
}
#: The forms of a table.
FORMS = tuple(_RENDERERS)


def render(table: Table, form: str) -> str:
    """Return a table in one of the forms."""
    if form not in _RENDERERS:
        raise RequestError(f"No form `{form}`.{nearest(form, FORMS)} Known: {listed(FORMS)}.")
    return _RENDERERS[form](table)

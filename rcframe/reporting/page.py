"""The page: one HTML file that needs nothing else, neither network nor script."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, get_args

import attrs

from rcframe.findings.records import Verdict
from rcframe.findings.tables import Table
from rcframe.findings.terminal import condensed, fitted
from rcframe.reporting.chart import told_apart
from rcframe.reporting.section import Section
from rcframe.reporting.svg import named_apart
from rcframe.visible import visible

if TYPE_CHECKING:
    from markupsafe import Markup

#: Columns from which a table is worth narrowing, and the signs that a line of paper has room for.
_MANY, _WIDTH = 8, 150


def page_of(title: str, sections: Sequence[Section]) -> str:
    """Return the HTML of a report."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    from rcframe import __version__

    numbers = itertools.count(1)

    def svg(element: str) -> Markup:
        return Markup(named_apart(element, f"s{next(numbers)}-"))

    # Texts are escaped, and what would be no character of a page is spelled out.
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters["code"] = _with_code
    return environment.get_template("page.html.jinja").render(
        title=title,
        sections=[_for_eyes(section) for section in sections],
        version=__version__,
        style=Markup(_template("style.css")),
        svg=svg,
        zip=zip,
        verdicts=get_args(Verdict),
    )


def _with_code(text: str) -> Markup:
    """Show what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = [escape(visible(part)) for part in text.split("`")]
    if len(parts) % 2 == 0:
        return escape(visible(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def _template(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _for_eyes(section: Section) -> Section:
    """Let tables with many columns say once what every row says, and cut them; those of a single row stand upright."""
    return attrs.evolve(section, tables=tuple(part for table in section.tables for part in _readable(table)))


def _readable(table: Table) -> Iterable[Table]:
    if len(table.columns) < _MANY:
        return (table,)
    return (upright(table),) if len(table.rows) == 1 else fitted(condensed(table), _WIDTH)


def upright(table: Table) -> Table:
    """Return a table of a single row standing: a row for each column."""
    rows = tuple(zip(table.columns[1:], table.rows[0][1:], strict=True))
    return Table(table.title, tuple(told_apart([table.columns[0], table.rows[0][0]])), rows, table.notes)

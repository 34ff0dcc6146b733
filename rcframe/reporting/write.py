"""A report on disk: the page, and its tables for other programs and for papers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from rcframe.errors import RequestError, RunFailed
from rcframe.files import write_text
from rcframe.findings.folders import Collection
from rcframe.findings.tables import Table, render
from rcframe.reporting.exhibits import slug
from rcframe.reporting.page import page_of
from rcframe.reporting.section import Section
from rcframe.reporting.sections import sections

_NEEDED = ("matplotlib", "jinja2")
_SUFFIXES: Mapping[str, str] = {"markdown": "md", "csv": "csv", "latex": "tex"}
#: Rows beyond which a table is data for programs, and no paper prints it.
_LONG = 25


def refuse_without_libraries() -> None:
    """Raise `RequestError` if what draws plots and pages is not installed."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise RequestError(
            f'A report needs {" and ".join(missing)}, not installed here: run `pip install "rcframe[plots]"`.'
        )


def refuse_unfinished(collection: Collection) -> None:
    """Raise `RequestError` if there is nothing to report."""
    if not collection.groups:
        told = [f"`{run.path}`: {run.reason}" for run in collection.unfinished[:5]]
        more = len(collection.unfinished) - len(told)
        rest = f"; and {more} more" if more else ""
        raise RequestError(f"No run there is finished, so there is nothing to report. {'; '.join(told)}{rest}.")


def write_report(collection: Collection, folder: Path, title: str) -> Iterator[Path]:
    """Write `report.html` and `tables/`; yield each file once it is there."""
    found = list(sections(collection))
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFailed(f"Cannot make the folder `{folder / 'tables'}`: {error.strerror}.") from error
    page = folder / "report.html"
    write_text(page, page_of(title, found))
    yield page
    for name, table in named_tables(found).items():
        for form in _SUFFIXES if len(table.rows) <= _LONG else ("csv",):
            path = folder / "tables" / f"{name}.{_SUFFIXES[form]}"
            write_text(path, render(table, form))
            yield path


def named_tables(found: Sequence[Section]) -> dict[str, Table]:
    """Return every table of a report by the name of its file."""
    tables: dict[str, Table] = {}
    for section in found:
        for table in (*section.tables, *section.folded):
            stem = f"{section.name}-{slug(table.title)}"
            tables[_free(stem, tables)] = table
        for exhibit in section.exhibits:
            tables[_free(exhibit.name, tables)] = exhibit.data
    return tables


def _free(stem: str, taken: Mapping[str, Table]) -> str:
    """Return a short name that is not taken."""
    stem, number = stem[:60].strip("-"), 1
    name = stem
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name

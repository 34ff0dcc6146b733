from __future__ import annotations

import io

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from rcframe.findings.tables import Table
from rcframe.findings.terminal import condensed, fitted, print_table


def printed(table: Table, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with console.capture() as captured:
        print_table(table, console)
    return captured.get()


def cells(text: str) -> list[list[str]]:
    """The rows of drawn tables, each with the one before it if it goes on there."""
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if line[:1] == "│"]


TABLE = Table(
    "Runs",
    ("run", "student clean", "n", "seeds"),
    (("plain", "93.1 [90.2, 95.4]", "450", "3"), ("kd", "94.0 [91.0, 96.0]", "450", "3")),
    ("In percent.",),
)


def test_what_is_the_same_in_every_row_is_said_once() -> None:
    assert condensed(TABLE) == Table(
        "Runs",
        ("run", "student clean"),
        (("plain", "93.1 [90.2, 95.4]"), ("kd", "94.0 [91.0, 96.0]")),
        ("The same in every row: n 450, seeds 3.", "In percent."),
    )


@pytest.mark.parametrize("rows", [(), (("plain", "1"),), (("plain", "1"), ("kd", "2"))])
def test_what_differs_or_stands_alone_stays(rows: tuple[tuple[str, str], ...]) -> None:
    table = Table("Runs", ("run", "n"), rows)
    assert condensed(table) == table


def test_rows_of_one_name_keep_it() -> None:
    table = Table("Runs", ("run", "n"), (("kd", "1"), ("kd", "2")))
    assert condensed(table) == table


def test_a_table_that_fits_is_one_with_its_title_before_and_its_notes_behind_it() -> None:
    lines = printed(TABLE, 100).splitlines()
    assert lines[0] == "Runs"
    assert lines[-2:] == ["The same in every row: n 450, seeds 3.", "In percent."]
    assert cells("\n".join(lines)) == [["plain", "93.1 [90.2, 95.4]"], ["kd", "94.0 [91.0, 96.0]"]]


def test_a_table_that_is_too_wide_is_cut_between_columns_and_its_heads_are_broken_first() -> None:
    names = ("student clean", "student fgsm", "student pgd:steps=50")
    table = Table("Runs", ("run", *names), (("plain", *["90.0 [80.0, 95.0]"] * 3), ("kd", *["1", "2", "3"])))
    text = printed(table, 54)
    assert [line for line in text.splitlines() if line.startswith("Runs")] == ["Runs", "Runs, continued"]
    assert cells(text) == [
        *(["plain", "90.0 [80.0, 95.0]", "90.0 [80.0, 95.0]"], ["kd", "1", "2"]),
        *(["plain", "90.0 [80.0, 95.0]"], ["kd", "3"]),
    ]
    assert "pgd:steps=50 ┃" in text


def test_brackets_and_controls_in_names_are_shown_as_they_are() -> None:
    text = printed(Table("[red]", ("run", "n"), (("[bold]a", "1"), ("b\x1b[31m", "[/]"))), 80)
    assert "[red]" in text
    assert "[bold]a" in text
    assert "\x1b[31m" not in text


NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
CELLS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=14)


@given(st.data(), st.integers(40, 160))
def test_no_cell_is_lost_or_folded_on_any_width(data: st.DataObject, width: int) -> None:
    columns = data.draw(st.lists(NAMES, min_size=2, max_size=7, unique=True))
    rows = data.draw(st.lists(st.tuples(*[CELLS for _ in columns]), min_size=1, max_size=3))
    parts = list(fitted(Table("T", tuple(columns), tuple(rows)), width))
    assert [name for part in parts for name in part.columns[1:]] == columns[1:]
    assert all(part.columns[0] == columns[0] for part in parts)
    for place, row in enumerate(rows):
        assert [cell for part in parts for cell in part.rows[place][1:]] == list(row[1:])
    text = printed(Table("T", tuple(columns), tuple(rows)), width)
    assert max(map(len, text.splitlines()[1:]), default=0) <= width or "same in every row" in text
    drawn = cells(text)
    assert all(cell for line in drawn for cell in line)
    assert len(drawn) % len(rows) == 0

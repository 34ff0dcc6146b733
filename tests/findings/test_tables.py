from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from rcframe.errors import RequestError
from rcframe.findings.tables import FORMS, Table, render

TABLE = Table(
    "Found", ("run", "clean", "note"), (("a|b_c", "96.9 [95.1, 98.1]", "x"), ("_d_", "-", "")), ("Mind 50%.",)
)
CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    columns = draw(st.lists(CELLS, min_size=1, max_size=4, unique=True))
    rows = draw(st.lists(st.tuples(*[CELLS] * len(columns)), max_size=4))
    return Table(draw(CELLS), tuple(columns), tuple(rows), tuple(draw(st.lists(CELLS, max_size=2))))


@pytest.mark.parametrize("width", [50, 80, 120])
def test_the_names_of_rows_are_whole_on_any_terminal_and_the_rest_is_folded(width: int) -> None:
    name, words = "skeptical/tiny-imagenet-and-more", "several words of a description " * 4
    stream = io.StringIO()
    Console(file=stream, width=width).print(Table("Found", ("recipe", "claim", "source"), ((name, words, words),)))
    rows = [line.split("│")[1:4] for line in stream.getvalue().splitlines() if line.startswith("│")]
    assert rows[0][0].strip() == name
    for place in (1, 2):
        # A word that is longer than its column is broken, but nothing is left out.
        assert "".join("".join(row[place] for row in rows).split()) == words.replace(" ", "")


@given(tables())
def test_csv_is_read_back_as_it_was(table: Table) -> None:
    read = list(csv.reader(io.StringIO(render(table, "csv"), newline="")))
    assert [tuple(row) for row in read if row] == [row for row in (table.columns, *table.rows) if row]


@given(tables())
def test_json_names_every_cell(table: Table) -> None:
    read = json.loads(render(table, "json"))
    assert [tuple(row[name] for name in table.columns) for row in read["rows"]] == list(table.rows)
    assert (read["title"], read["notes"]) == (table.title, list(table.notes))


@given(tables())
def test_every_row_of_markdown_has_as_many_cells_whatever_they_hold(table: Table) -> None:
    lines = [line for line in render(table, "markdown").splitlines() if line.startswith("| ")]
    borders = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines}
    assert len(lines) == 2 + len(table.rows)
    assert borders == {len(table.columns) + 1}


def test_markdown_puts_numbers_to_the_right_and_takes_no_sign_for_markup() -> None:
    assert render(TABLE, "markdown") == (
        "**Found**\n\n| run | clean | note |\n| --- | ---: | --- |\n| a\\|b_c | 96.9 [95.1, 98.1] | x |\n"
        "| \\_d\\_ | - |  |\n\n* Mind 50%.\n"
    )


def test_latex_escapes_what_it_would_act_on() -> None:
    written = render(Table("50% & {x}", ("a_b", "c"), (("[1", "~^\\<>|"), ("*", "$#"))), "latex")
    assert r"\caption{50\% \& \{x\}}" in written
    assert r"a\_b & c \\" in written
    # After a row's end, [ and * would be its arguments.
    assert (
        r"{[}1 & \textasciitilde{}\textasciicircum{}\textbackslash{}\textless{}\textgreater{}\textbar{} \\" in written
    )
    assert r"{*} & \$\# \\" in written


@given(tables())
def test_latex_has_a_line_for_each_row_and_as_many_cells(table: Table) -> None:
    lines = [line for line in render(table, "latex").splitlines() if line.endswith(r" \\")]
    assert [len(re.findall(r"(?<!\\)&", line)) for line in lines] == [len(table.columns) - 1] * (1 + len(table.rows))


def test_the_terminal_form_keeps_every_cell_whole_and_columns_aligned() -> None:
    text = render(TABLE, "table")
    body = [line for line in text.splitlines() if "│" in line]
    assert len({line.index("│", 2) for line in body}) == 1
    assert "96.9 [95.1, 98.1]" in text
    assert "Mind 50%." in text


def test_brackets_and_escapes_of_names_reach_the_terminal_as_text() -> None:
    console = Console(width=80, force_terminal=True, color_system=None)
    with console.capture() as shown:
        console.print(Table("[red]t", ("a",), (("\x1b[31m[bold]",),)))
    assert "[red]t" in shown.get()
    assert "\\x1b[31m[bold]" in shown.get()


@pytest.mark.parametrize("cells", [("1",), ("1", "2", "3")])
def test_a_row_must_have_a_cell_for_each_column(cells: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="has 2 columns"):
        Table("t", ("a", "b"), (cells,))


def test_columns_must_have_different_names() -> None:
    with pytest.raises(ValueError, match="two columns"):
        Table("t", ("a", "a"), ())


def test_an_unknown_form_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="Did you mean `latex`"):
        render(TABLE, "latx")
    assert FORMS == ("table", "json", "csv", "markdown", "latex")


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (("1", "-2.5", "+3 [1, 4]"), True),
        (("-", "7"), True),
        (("-", "-"), False),
        (("1", "a"), False),
        (("nan",), True),
    ],
)
def test_columns_of_numbers_are_known(cells: tuple[str, ...], right: bool) -> None:
    assert Table("t", ("a",), tuple((cell,) for cell in cells)).numeric == (right,)

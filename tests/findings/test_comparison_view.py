from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from rcframe.errors import RequestError
from rcframe.findings.comparison import Comparison, compare_folders, compare_rows
from rcframe.findings.comparison_view import as_json, exact_table, figures_table, settings_table, show, written
from rcframe.session.evidence import About
from tests.findings.folders_made import IMAGES, Made, make_matrix, make_run, make_seeds, right, row
from tests.findings.outputs_made import answered, logits

BOTH = (right(20), right(10))


def compared(folder: Path, first: Made, second: Made) -> Comparison:
    return compare_folders(make_run(folder / "first", first), make_run(folder / "second", second))


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    """Two runs with a difference of each kind."""
    first = Made(student=right(10), attacked={"fgsm": BOTH}, eps="0.1", parameters=2000)
    second = Made(student=right(30), attacked={"fgsm": BOTH}, eps="0.2", parameters=1500)
    return compared(tmp_path, first, second)


def shown(comparison: Comparison, width: int, *, terminal: bool = True) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, color_system=None, force_terminal=terminal)
    with console.capture() as captured:
        show(comparison, console)
    return captured.get()


# -- tables -----------------------------------------------------------------------------------------------------------


def test_changes_are_a_table_that_says_what_they_can_do(tmp_path: Path) -> None:
    settings = {"threads": 2, "workers": 1}
    table = settings_table(compared(tmp_path, Made(eps="0.1"), Made(eps="0.2", settings=settings)))
    assert table is not None
    assert table.columns == ("setting", "A", "B", "can change results")
    assert table.rows == (
        ("eps", "0.1", "0.2", "yes"),
        ("threads", "1", "2", "by rounding"),
        ("workers", "-", "1", "no"),
    )


def test_no_changes_are_no_table(tmp_path: Path) -> None:
    assert settings_table(compared(tmp_path, Made(), Made())) is None


def test_changes_of_some_rows_name_them(tmp_path: Path) -> None:
    def rows(eps: str, **threads: int) -> list[tuple[str, Made]]:
        return [(name, Made(eps=eps, settings={"threads": threads.get(name, 1)})) for name in "xyz"]

    first, second = (
        make_matrix(tmp_path / name, [(row(x), made) for x, made in runs])
        for name, runs in (("a", rows("0.1")), ("b", rows("0.2", x=2, z=2)))
    )
    table = settings_table(compare_folders(first, second))
    assert table is not None
    assert table.columns[0] == "row"
    assert table.rows == (("all", "eps", "0.1", "0.2", "yes"), ("x; z", "threads", "1", "2", "by rounding"))


def test_figures_are_percents_points_and_counts(comparison: Comparison) -> None:
    table = figures_table(comparison)
    assert table.columns == ("figure", "A", "B", "B - A", "on these two networks")
    found = {name: cells for name, *cells in table.rows}
    assert found["teacher clean"] == ["90.0", "90.0", "+0.0 [-6.6, +6.6]", "equal"]
    mean, low, high = "+50.0", r"\+\d\d\.\d", r"\+\d\d\.\d"
    assert re.fullmatch(rf"{re.escape(mean)} \[{low}, {high}\]", found["student clean"][2])
    assert found["student clean"][:2] + found["student clean"][3:] == ["25.0", "75.0", "beyond noise"]
    assert found["student fgsm"] == ["25.0", "25.0", "-", "not compared"]
    assert found["student parameters"] == ["2,000", "1,500", "-500 (-25.0%)", "differs"]
    assert found["student non-zero"] == ["2,000", "1,500", "-500 (-25.0%)", "differs"]
    assert found["student bytes"] == ["8,000", "6,000", "-2,000 (-25.0%)", "differs"]
    assert not [name for name in found if name.startswith("teacher ") and "clean" not in name and "fgsm" not in name]


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_the_only_row_that_two_matrices_share_is_named(tmp_path: Path, form: str) -> None:
    sides = (("a", "xy", "0.1"), ("b", "yz", "0.2"))
    made = [make_matrix(tmp_path / name, [(row(x), Made(eps=eps)) for x in rows]) for name, rows, eps in sides]
    comparison = compare_folders(*made)
    settings = settings_table(comparison)
    assert settings is not None
    assert (settings.title, figures_table(comparison).title) == ("What was set otherwise: y", "What came out: y")
    assert "What came out: y" in written(comparison, form)
    assert "What came out: y" in shown(comparison, 80)


def test_several_rows_that_two_matrices_share_are_named_in_the_table_alone(tmp_path: Path) -> None:
    made = [make_matrix(tmp_path / rows, [(row(x), Made()) for x in rows]) for rows in ("xyz", "wyz")]
    table = figures_table(compare_folders(*made))
    assert (table.title, table.columns[0]) == ("What came out", "row")
    assert {cells[0] for cells in table.rows} == {"y", "z"}


def test_picked_rows_are_named(tmp_path: Path) -> None:
    matrix = make_matrix(tmp_path / "m", [(row(x), Made()) for x in "xyz"])
    assert figures_table(compare_rows(matrix, matrix, ("x", "z"))).title == "What came out: x / z"


def test_two_runs_need_no_name_beside_those_of_their_folders(comparison: Comparison) -> None:
    assert figures_table(comparison).title == "What came out"


def test_equal_sizes_are_said_instead_of_shown(tmp_path: Path) -> None:
    table = figures_table(compared(tmp_path, Made(), Made()))
    assert [name for name, *_ in table.rows] == ["teacher clean", "student clean"]
    assert "The sizes are equal." in table.notes


def test_a_verdict_on_two_networks_never_stands_alone(tmp_path: Path) -> None:
    """Neither in a table of its own, nor beside verdicts over several seeds, nor for programs."""
    first = make_matrix(tmp_path / "a", [(row(x, seed), Made(seed=seed)) for x in "xy" for seed in (0, 1)])
    seeds = {"x": (0, 1), "y": (1,)}
    rows = [(row(x, seed), Made(seed=seed, student=right(5))) for x in "xy" for seed in seeds[x]]
    comparison = compare_folders(first, make_matrix(tmp_path / "b", rows))
    table = figures_table(comparison)
    assert table.columns == ("row", "figure", "A", "B", "B - A", "verdict")
    verdicts = {cells[0]: cells[-1] for cells in table.rows if cells[1] == "student clean"}
    assert verdicts == {"x": "beyond noise", "y": "beyond noise, one seed"}
    exact = {cells[0]: cells[-1] for cells in exact_table(comparison).rows if cells[1] == "student clean"}
    assert exact == verdicts
    alone = compared(tmp_path / "alone", Made(), Made(student=right(5)))
    assert [cells[-1] for cells in exact_table(alone).rows if cells[1] == "student clean"] == ["beyond noise, one seed"]


# -- forms ------------------------------------------------------------------------------------------------------------


def test_csv_holds_every_figure_unrounded(comparison: Comparison) -> None:
    found = list(csv.DictReader(io.StringIO(written(comparison, "csv"))))
    assert [cells["figure"] for cells in found] == [figure.name for figure in comparison.figures]
    for cells, figure in zip(found, comparison.figures, strict=True):
        assert (float(cells["a"]), float(cells["b"])) == (figure.first, figure.second)
        if figure.difference:
            exact = [float(cells[name]) for name in ("difference", "low", "high", "seeds", "images")]
            difference = figure.difference
            assert exact == [difference.mean, difference.low, difference.high, difference.seeds, difference.images]
        else:
            assert [cells[name] for name in ("difference", "low", "high", "seeds", "images")] == [""] * 5


def test_json_holds_everything(comparison: Comparison) -> None:
    found = json.loads(written(comparison, "json"))
    assert found == json.loads(json.dumps(as_json(comparison)))
    assert found["a"].endswith("first")
    assert found["summary"] == "1 of 2 accuracies of these networks differs beyond noise."
    assert found["notes"][0].startswith("One network is held against one")
    (only,) = found["rows"]
    assert (only["name"], only["seeds"]) == ("first / second", [[0, 0]])
    assert only["changes"] == [{"name": "eps", "a": "0.1", "b": "0.2", "can_change_results": "yes"}]
    clean = next(figure for figure in only["figures"] if figure["name"] == "student clean")
    assert (clean["a"], clean["b"], clean["verdict"]) == (10 / IMAGES, 30 / IMAGES, "beyond noise, one seed")
    assert (clean["difference"]["seeds"], clean["difference"]["images"]) == (1, IMAGES)
    robust = next(figure for figure in only["figures"] if figure["name"] == "student fgsm")
    assert (robust["difference"], robust["reason"]) == (None, "eps 0.1 and 0.2")


@pytest.mark.parametrize("form", ["markdown", "latex"])
def test_tables_to_paste_say_all_that_the_terminal_says(comparison: Comparison, form: str) -> None:
    text = written(comparison, form)
    for words in ("What was set otherwise", "What came out", "1 of 2 accuracies", "A: ", "One network is held", "eps"):
        assert words in text


def test_tables_to_paste_say_that_nothing_was_set_otherwise(tmp_path: Path) -> None:
    text = written(compared(tmp_path, Made(), Made()), "markdown")
    assert "Settings, versions and code are the same." in text
    assert "What was set otherwise" not in text


def test_another_form_is_refused(comparison: Comparison) -> None:
    with pytest.raises(RequestError, match="No form `html`"):
        written(comparison, "html")


# -- terminal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_is_cut_off_however_narrow_the_terminal(comparison: Comparison, width: int) -> None:
    text = shown(comparison, width)
    # The folder's name may be longer than any terminal.
    lines = [line for line in text.splitlines() if not line.startswith(("A: ", "B: "))]
    summary, *below = [line for line in lines if line]
    assert summary == "1 of 2 accuracies of these networks differs beyond noise."
    assert max(map(len, below)) <= width
    assert "…" not in text
    assert re.search("^│ teach", text, re.M), "numbers leave room for names"
    letters = re.sub(r"[^a-z]", "", text)
    for words in ("notcompared", "canchangeresults", "studentparameters", "otherseedswerenottried"):
        assert width < 80 or words in letters


def test_figures_stand_in_one_line_each_on_a_usual_terminal(tmp_path: Path) -> None:
    measured = {"pgd:steps=50": (right(20), right(3))}
    first = make_seeds(tmp_path / "a", [Made(seed=seed, attacked=measured) for seed in (0, 1)])
    second = make_seeds(tmp_path / "b", [Made(seed=seed, attacked=measured, parameters=1) for seed in (0, 1)])
    text = shown(compare_folders(first, second), 80)
    assert re.search(r"^│ student pgd:steps=50 +│ +7\.5 │ +7\.5 │ +\+0\.0 \[-6\.6, \+6\.6\] │ equal +│$", text, re.M)


def test_rows_of_a_matrix_are_named_once_with_a_line_between_them(tmp_path: Path) -> None:
    rows = [(row(name), Made()) for name in ("small", "large")]
    text = shown(compare_folders(make_matrix(tmp_path / "a", rows), make_matrix(tmp_path / "b", rows)), 80)
    figures = text.split("What came out")[1]
    named = [line.split("│")[1].strip() for line in figures.splitlines() if line.startswith("│")]
    assert named == ["small", "", "large", ""]
    assert figures.count("├") == 1


def test_a_difference_that_is_rounded_to_nothing_has_no_sign(tmp_path: Path) -> None:
    first, second = (Made(student=right(count, 10_000), teacher=right(9, 10_000)) for count in (8001, 8000))
    (cell,) = [cells[3] for cells in figures_table(compared(tmp_path, first, second)).rows if "student" in cells[0]]
    assert cell == "+0.0 [-0.0, +0.0]"


def test_lines_are_not_broken_where_no_terminal_is(comparison: Comparison) -> None:
    text = shown(comparison, 60, terminal=False)
    assert re.search(r"^\* One network is held against one: .* run both with --seeds 5 or so\.$", text, re.M)


def test_names_that_look_like_markup_or_move_the_cursor_do_nothing(tmp_path: Path) -> None:
    first = make_run(tmp_path / "[bold]a", Made(flags=("[red]odd",)))
    settings = {"data": {"name": "digits", "size": "\x1b[2J8"}}
    second = make_run(tmp_path / "b", Made(settings=settings))
    text = shown(compare_folders(first, second), 200)
    assert "[bold]a (seed 0)" in text
    assert "Beware of A: [red]odd." in text
    assert "\x1b" not in text


# -- outputs ----------------------------------------------------------------------------------------------------------


def test_what_outputs_give_away_is_compared_in_its_units(tmp_path: Path) -> None:
    first = answered(Made(), logits(1), logits(2, sharpness=1))
    second = answered(Made(), logits(1), logits(2, sharpness=9))
    found = compared(tmp_path, first, second)
    table = figures_table(found)
    rows = {cells[0]: cells[1:] for cells in table.rows}
    assert rows["student agreement"][3] == "equal"
    peaks = [made.peaks[About("student", "clean")].mean() for made in (first, second)]
    assert rows["student peaks"][:2] == tuple(f"{mean:.2f}" for mean in peaks)
    assert rows["student peaks"][2].startswith(f"{peaks[1] - peaks[0]:+.2f} [")
    assert rows["student peaks"][3] == "beyond noise"
    errors = [made.outputs["student"].calibration for made in (first, second)]
    assert rows["student calibration error"][:2] == tuple(f"{100 * one.error.value:.2f}" for one in errors if one)
    assert rows["teacher peaks"][3] == rows["teacher calibration error"][3] == "equal"
    assert any("Peaks are classes that get more than a tenth" in note for note in table.notes)
    assert " figures of these networks differ beyond noise." in str(as_json(found)["summary"])


def test_peaks_at_two_temperatures_are_not_compared_and_the_reason_is_said(tmp_path: Path) -> None:
    first, second = (answered(Made(), logits(1), logits(2), temperature=heat) for heat in (4.0, 20.0))
    found = compared(tmp_path, first, second)
    rows = {cells[0]: cells[1:] for cells in figures_table(found).rows}
    assert rows["student peaks"][3] == "not compared"
    assert any("softened at temperature 4 and 20" in note for note in figures_table(found).notes)


def test_equal_peaks_of_other_images_are_not_called_equal(tmp_path: Path) -> None:
    first = answered(Made(), logits(1), logits(2))
    turned = {about: counts[::-1].copy() for about, counts in first.peaks.items()}
    found = compared(tmp_path, first, attrs.evolve(first, peaks=turned))
    rows = {cells[0]: cells[1:] for cells in figures_table(found).rows}
    assert rows["student peaks"][3] == "within noise"

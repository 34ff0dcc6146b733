from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.reporting.sections.compression import over_widths, section
from rcframe.reporting.widths import widths
from tests.findings.folders_made import Made, right
from tests.reporting.runs_made import collected, column, exhibit, sectioned, student


def small(parameters: int, heat: int = 1) -> Made:
    return Made(parameters=parameters, settings=student(temperature=heat))


def test_accuracy_stands_over_what_is_left_of_the_student_the_largest_first(tmp_path: Path) -> None:
    (exhibit,) = sectioned(section(collected({"a": small(10, 1), "b": small(50, 2)}, tmp_path))).exhibits
    assert column(exhibit.data, "student non-zero") == ["50", "10"]
    assert column(exhibit.data, "teacher non-zero") == ["100", "100"]
    assert column(exhibit.data, "student, clean") == ["75", "75"]
    assert column(exhibit.data, "teacher, clean") == ["90", "90"]
    assert [key.name for key in exhibit.legend] == ["teacher, clean", "student, clean"]


def test_students_of_their_teachers_size_are_not_compressed(tmp_path: Path) -> None:
    assert section(collected({"a": small(100), "b": small(98, 2)}, tmp_path)) is None


def test_students_of_one_size_are_not_drawn_over_it(tmp_path: Path) -> None:
    """Half as large as their teacher, but all alike: there is nothing to see from left to right."""
    assert section(collected({"a": small(50), "b": small(50, 2)}, tmp_path / "alike")) is None
    assert section(collected({"a": small(50)}, tmp_path / "alone")) is None
    assert section(collected({"a": small(50), "b": small(40, 2)}, tmp_path / "others")) is not None


def wide(hidden: int, learns: str, count: int, *, seed: int = 0) -> Made:
    settings = {
        "student_model": {"name": "mlp", "hidden": [hidden]},
        "student": [{"name": learns}],
        "typed": {"teacher": ["plain"], "student": [learns]},
    }
    return Made(seed=seed, parameters=hidden, student=right(count), settings=settings)


def test_each_way_of_learning_has_a_line_over_the_width_of_the_student(tmp_path: Path) -> None:
    counts = {("kd", 2): 20, ("kd", 40): 30, ("plain", 2): 16, ("plain", 40): 24}
    runs = {f"{learns}{hidden}": wide(hidden, learns, count) for (learns, hidden), count in counts.items()}
    found = sectioned(section(collected(runs, tmp_path)))
    drawn = exhibit(found, "widths-1-1")
    assert drawn.caption == "Accuracy (clean) against the parameters of the student: mlp."
    assert column(drawn.data, "parameters") == ["2", "40", "100"]
    assert column(drawn.data, "student: kd") == ["50", "75", "-"]
    assert column(drawn.data, "student: plain") == ["40", "60", "-"]
    # One teacher of 100 parameters, drawn once, at its own size.
    assert column(drawn.data, "teacher") == ["-", "-", "90"]
    assert [key.name for key in drawn.legend] == ["teacher", "student: kd", "student: plain"]


def test_seeds_of_a_width_are_averaged(tmp_path: Path) -> None:
    runs = {f"{h}-{seed}": wide(h, "kd", 20 + 4 * seed, seed=seed) for h in (2, 4) for seed in (0, 1)}
    drawn = exhibit(sectioned(section(collected(runs, tmp_path))), "widths-1-1")
    assert column(drawn.data, "student")[:2] == ["55", "55"]


def test_robust_accuracies_have_figures_of_their_own(tmp_path: Path) -> None:
    runs = {str(h): attrs.evolve(wide(h, "kd", 20), attacked={"fgsm": (right(8), right(4))}) for h in (2, 4)}
    found = sectioned(section(collected(runs, tmp_path)))
    assert [one.name for one in found.exhibits] == ["compression", "widths-1-1", "widths-1-2"]
    assert column(exhibit(found, "widths-1-2").data, "student") == ["10", "10", "-"]
    assert column(exhibit(found, "widths-1-2").data, "teacher") == ["-", "-", "20"]


def test_lines_take_the_first_colours_in_turn(tmp_path: Path) -> None:
    runs = {f"{learns}{hidden}": wide(hidden, learns, 20) for learns in ("kd", "plain", "sly") for hidden in (2, 4)}
    found = widths(collected(runs, tmp_path).groups)
    ((_, lines),) = over_widths(next(found))
    assert [(line.style.number, line.form) for line in lines] == [(0, "mark"), (1, "bars"), (2, "bars"), (3, "bars")]

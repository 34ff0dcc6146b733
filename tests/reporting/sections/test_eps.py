from __future__ import annotations

from pathlib import Path

from rcframe.findings.folders import collect
from rcframe.reporting.sections.eps import section
from tests.findings.folders_made import make_run
from tests.reporting.runs_made import collected, column, curved, measured, sectioned, student


def test_accuracies_stand_over_eps_from_the_clean_one_on(tmp_path: Path) -> None:
    runs = {"a": measured(30, "0.1"), "b": measured(30, "51/255")}
    (exhibit,) = sectioned(section(collected(runs, tmp_path))).exhibits
    data = exhibit.data
    assert column(data, data.columns[0]) == ["0", "0.1", "0.2"]
    assert column(data, "student, pgd:steps=5") == ["75", "50", "50"]
    assert column(data, "teacher, certified by convex") == ["90", "50", "50"]
    assert "student, clean" not in data.columns
    assert [key.name for key in exhibit.legend] == [
        "teacher, pgd:steps=5",
        "teacher, certified by convex",
        "student, pgd:steps=5",
        "student, certified by convex",
    ]


def test_configurations_have_a_figure_each(tmp_path: Path) -> None:
    runs = {
        f"{heat}{eps}": measured(30, eps, settings=student(temperature=heat))
        for heat in (1, 2)
        for eps in ("0.1", "0.2")
    }
    exhibits = sectioned(section(collected(runs, tmp_path))).exhibits
    assert [exhibit.name for exhibit in exhibits] == ["eps-1", "eps-2"]
    assert len({exhibit.caption for exhibit in exhibits}) == 2


def test_curves_of_single_runs_stand_before_those_across_runs(tmp_path: Path) -> None:
    runs = {"a": measured(30, "0.1"), "b": measured(30, "51/255"), "c": curved(student(temperature=2))}
    found = sectioned(section(collected(runs, tmp_path)))
    assert [exhibit.name for exhibit in found.exhibits] == ["curve-1-teacher", "curve-1-student", "eps-1"]
    assert len(found.says) == 2
    assert "thick" in found.says[0]
    alone = sectioned(section(collected({"c": curved()}, tmp_path / "alone")))
    assert [exhibit.name for exhibit in alone.exhibits] == ["curve-1-teacher", "curve-1-student"]
    assert len(alone.says) == 1


def test_a_single_eps_is_no_curve(tmp_path: Path) -> None:
    make_run(tmp_path / "a", measured(30))
    assert section(collect([tmp_path])) is None

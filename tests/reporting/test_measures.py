from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.reporting.chart import Point
from rcframe.reporting.families import Family, families
from rcframe.reporting.measures import Measure, axis_of, clean_at_zero, line_of, measures
from tests.findings.folders_made import Made, falls, right
from tests.reporting.runs_made import collected, student


def attacked_with(steps: int, count: int) -> Made:
    spec = f"pgd:steps={steps}"
    settings = {"attack": [{"name": "pgd", "steps": steps}]}
    return Made(attacked={spec: (right(30), right(count))}, settings=settings)


def test_an_attack_whose_own_setting_varies_is_one_measure(tmp_path: Path) -> None:
    found = collected({"a": attacked_with(5, 20), "b": attacked_with(50, 10)}, tmp_path)
    (family,) = families(found.groups, "attack.steps")
    every = measures([member.group for member in family.members])
    assert [measure.words for measure in every] == ["teacher, clean", "teacher, pgd", "student, clean", "student, pgd"]
    drawn = line_of(family, every[3], 2, "name")
    assert [(point.x, point.y) for point in drawn.points] == [(5, 50), (50, 25)]
    # Wilson's interval of 10 of 40.
    assert [round(end or 0, 1) for end in (drawn.points[1].low, drawn.points[1].high)] == [14.2, 40.2]
    assert (drawn.style.number, drawn.style.dashed, line_of(family, every[1], 2, "x").style.dashed) == (2, False, True)


def test_what_only_some_groups_have_is_left_out(tmp_path: Path) -> None:
    found = collected({"a": attacked_with(5, 20), "b": Made(settings=student(temperature=2))}, tmp_path)
    assert [measure.what for measure in measures(found.groups)] == ["clean", "clean"]


def test_the_worst_case_is_measured_where_all_groups_have_it(tmp_path: Path) -> None:
    radii = ("0", "0.1")
    both = (falls(4, 0, 6, radii=radii), falls(10, 0, 6, radii=radii))
    two = Made(radii=radii, breaking={"pgd": both, "mim": both}, certified={"convex": (right(1), right(2))})
    other = attrs.evolve(two, settings=student(temperature=2))
    found = collected({"a": two, "b": other}, tmp_path / "both")
    whats = ["clean", "pgd", "mim", "certified by convex", "worst case"]
    assert [measure.what for measure in measures(found.groups)] == 2 * whats
    found = collected({"a": two, "b": attrs.evolve(other, breaking={"pgd": both})}, tmp_path / "one")
    assert "worst case" not in [measure.what for measure in measures(found.groups)]


def eps_family(tmp_path: Path, *runs: Made) -> Family:
    found = collected({str(number): made for number, made in enumerate(runs)}, tmp_path)
    (family,) = families(found.groups, "eps")
    return family


def test_at_eps_zero_stands_the_clean_accuracy_if_it_does_not_depend_on_eps(tmp_path: Path) -> None:
    student_pgd = Measure("student", ("pgd", "pgd"))
    start = clean_at_zero(eps_family(tmp_path / "a", Made(eps="0.1"), Made(eps="0.2")), student_pgd)
    assert isinstance(start, Point)
    assert (start.x, start.y) == (0, 75)
    differing = eps_family(tmp_path / "b", Made(eps="0.1"), Made(eps="0.2", student=right(10)))
    assert clean_at_zero(differing, student_pgd) is None
    measured = eps_family(tmp_path / "c", Made(eps="0"), Made(eps="0.2"))
    assert clean_at_zero(measured, student_pgd) is None


def test_settings_over_more_than_a_decade_have_a_logarithmic_axis(tmp_path: Path) -> None:
    for values, log in (((1, 2), False), ((1, 100), True)):
        runs = {str(value): Made(settings=student(temperature=value)) for value in values}
        (family,) = families(collected(runs, tmp_path / str(log)).groups, "student.temperature")
        lines = [line_of(family, Measure("student", ("clean", "clean")), 0, "x")]
        axis = axis_of("student.temperature", lines)
        assert (axis.label, axis.log) == ("temperature of the student", log)

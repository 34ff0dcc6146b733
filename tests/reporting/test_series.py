from __future__ import annotations

from pathlib import Path

from rcframe.reporting.families import families
from rcframe.reporting.measures import Measure
from rcframe.reporting.series import Series, network_of, without_twins
from tests.findings.folders_made import Made, right
from tests.reporting.runs_made import collected

CLEAN = {role: Measure(role, ("clean", "clean")) for role in ("teacher", "student")}


def of(student: str, epochs: int, count: int = 30, attack: str = "fgsm") -> Made:
    settings = {
        "student": [{"name": student, "temperature": epochs}],
        "attack": [{"name": attack}],
        "typed": {"teacher": ["plain"], "student": [f"{student}:temperature={epochs}"]},
    }
    return Made(student=right(count), settings=settings)


def test_a_network_that_several_families_share_is_one_line(tmp_path: Path) -> None:
    runs = {f"{name}{heat}": of(name, heat) for name in ("kd", "sly") for heat in (1, 2)}
    found = families(collected(runs, tmp_path).groups, "student.temperature")
    lines = without_twins([Series(family, CLEAN[role]) for role in ("teacher", "student") for family in found])
    assert [line.name for line in lines] == ["teacher", "student: kd", "student: sly"]
    assert [line.style.dashed for line in lines] == [True, False, False]
    assert [[point.y for point in line.points] for line in lines] == [[90, 90], [75, 75], [75, 75]]


def test_what_measures_a_network_is_no_part_of_it(tmp_path: Path) -> None:
    runs = {f"{attack}{heat}": of("kd", heat, attack=attack) for attack in ("fgsm", "pgd") for heat in (1, 2)}
    one, other = families(collected(runs, tmp_path).groups, "student.temperature")
    assert network_of(one, "student") == network_of(other, "student")
    assert one.settings != other.settings


def test_how_a_student_learns_is_no_part_of_its_teacher(tmp_path: Path) -> None:
    runs = {f"{name}{heat}": of(name, heat) for name in ("kd", "sly") for heat in (1, 2)}
    one, other = families(collected(runs, tmp_path).groups, "student.temperature")
    assert network_of(one, "teacher") == network_of(other, "teacher")
    assert network_of(one, "student") != network_of(other, "student")

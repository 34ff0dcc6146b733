from __future__ import annotations

from pathlib import Path

from rcframe.reporting.sections.compression import section
from tests.findings.folders_made import Made
from tests.reporting.runs_made import collected, column, sectioned, student


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

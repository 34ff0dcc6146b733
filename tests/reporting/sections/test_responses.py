from __future__ import annotations

import math
from pathlib import Path

import attrs
import numpy as np
import pytest
from numpy.typing import NDArray

from rcframe.findings.folders import collect
from rcframe.reporting.sections.responses import section, softmax
from rcframe.session.evidence import Evidence, write_evidence
from rcframe.session.layout import RunFiles
from tests.findings.folders_made import Made, make_run
from tests.reporting.runs_made import CLASSES, column, make_rich, rich_evidence, sectioned, softly, student

Logits = NDArray[np.float32]
EVEN, SURE = np.zeros((4, 4), np.float32), np.eye(4, dtype=np.float32) * 8


def answering(path: Path, mentor: Logits, pupil: Logits, **settings: object) -> Evidence:
    made = Made(settings=settings)
    make_run(path, made)
    evidence = attrs.evolve(rich_evidence(made), logits={"teacher": mentor, "student": pupil})
    write_evidence(RunFiles(path).evidence, evidence)
    return evidence


def test_softmax_at_a_temperature() -> None:
    found = softmax(np.asarray([[0.0, 4 * math.log(3)]], np.float32), 4.0)
    assert found[0].tolist() == pytest.approx([0.25, 0.75])
    assert np.isfinite(softmax(np.asarray([[1e30, -1e30]], np.float32), 1.0)).all()


def test_teachers_of_different_runs_answer_the_same_pictures_side_by_side(tmp_path: Path) -> None:
    def typed(teacher: str) -> dict[str, object]:
        return {"teacher": {"name": teacher}, "typed": {"teacher": [teacher], "student": ["kd"]}}

    answering(tmp_path / "a", EVEN, SURE, **typed("plain"))
    answering(tmp_path / "b", SURE, SURE, **typed("sly"))
    teachers, students = sectioned(section(collect([tmp_path]))).exhibits
    assert [key.name for key in teachers.legend] == ["teacher plain", "teacher sly"]
    assert column(teachers.data, "answer")[:4] == list(CLASSES)
    assert column(teachers.data, "teacher plain")[:4] == ["25"] * 4
    # e^2 / (e^2 + 3) at temperature 4.
    assert float(column(teachers.data, "teacher sly")[0]) == pytest.approx(100 * math.e**2 / (math.e**2 + 3), abs=0.01)
    assert len(students.legend) == 1
    assert [strip.words for strip in teachers.strips][:1] == ["Picture 1, of class air<plane>"]


def test_a_shared_teacher_stands_once_beside_its_students(tmp_path: Path) -> None:
    answering(tmp_path / "a", EVEN, SURE, **student(alpha=0.1))
    answering(tmp_path / "b", EVEN, SURE * 2, **student(alpha=0.2))
    (exhibit,) = sectioned(section(collect([tmp_path]))).exhibits
    assert [key.name for key in exhibit.legend] == ["teacher plain", "student kd:alpha=0.1", "student kd:alpha=0.2"]


@pytest.mark.parametrize(("heats", "used"), [((8, 8), "temperature 8"), ((2, 8), "temperature 4")])
def test_the_temperature_is_that_of_the_runs_if_they_agree(tmp_path: Path, heats: tuple[int, int], used: str) -> None:
    for number, heat in enumerate(heats):
        answering(tmp_path / str(number), EVEN, SURE * (number + 1), **student(temperature=heat, alpha=number))
    assert used in sectioned(section(collect([tmp_path]))).says[0]


def test_runs_that_saw_other_pictures_are_not_held_against_each_other(tmp_path: Path) -> None:
    answering(tmp_path / "a", EVEN, SURE, **student(alpha=0.1))
    other = answering(tmp_path / "b", SURE, SURE * 2, **student(alpha=0.2))
    write_evidence(RunFiles(tmp_path / "b").evidence, attrs.evolve(other, pictures=other.pictures + np.uint8(1)))
    (exhibit,) = sectioned(section(collect([tmp_path]))).exhibits
    assert [key.name for key in exhibit.legend] == ["teacher", "student"]


def test_of_many_students_some_of_every_teacher_are_drawn(tmp_path: Path) -> None:
    def typed(teacher: str, pupil: str) -> dict[str, object]:
        return {
            "teacher": {"name": teacher},
            "student": [{"name": pupil}],
            "typed": {"teacher": [teacher], "student": [pupil]},
        }

    for place, mentor in enumerate(("one", "two")):
        for number, pupil in enumerate(("a", "b", "c", "d"), 1):
            answering(
                tmp_path / f"{mentor}-{pupil}", EVEN + SURE * place, SURE * (number + 4 * place), **typed(mentor, pupil)
            )
    _, students = sectioned(section(collect([tmp_path]))).exhibits
    assert [key.name.rpartition(": ")[2] for key in students.legend] == ["one, a", "one, b", "two, a", "two, b"]
    assert "4 of 8, the first of each teacher, then the second of each and so on, are drawn." in students.caption


def test_that_of_several_seeds_the_lowest_is_shown_is_said_where_there_are_several(tmp_path: Path) -> None:
    said = "Of several seeds, the lowest is shown."
    for seed in (0, 1):
        make_rich(tmp_path / str(seed), Made(seed=seed))
        assert (said in sectioned(section(collect([tmp_path]))).says[0]) is (seed == 1)


def test_without_answers_there_is_no_section(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    assert section(collect([tmp_path])) is None


def test_of_a_guarded_teacher_what_it_releases_is_shown(tmp_path: Path) -> None:
    def typed(teacher: str) -> dict[str, object]:
        return {"teacher": {"name": teacher}, "typed": {"teacher": [teacher], "student": ["kd"]}}

    answering(tmp_path / "a", SURE, SURE, **typed("plain"))
    other = answering(tmp_path / "b", SURE, EVEN, **typed("guarded"))
    sparse = np.where(SURE > 0, SURE, -np.inf).astype(np.float32)
    write_evidence(RunFiles(tmp_path / "b").evidence, attrs.evolve(other, released=sparse))
    teachers, _ = sectioned(section(collect([tmp_path]))).exhibits
    # The network is the same; what leaves is not.
    assert [key.name for key in teachers.legend] == ["teacher plain", "teacher guarded, what it releases"]
    assert column(teachers.data, "teacher guarded, what it releases")[:4] == ["100", "0", "0", "0"]


@pytest.mark.parametrize(("heats", "used"), [((8.0, 8.0), "temperature 8"), ((2.0, 8.0), "temperature 4")])
def test_the_temperature_is_that_which_was_measured_at(tmp_path: Path, heats: tuple[float, float], used: str) -> None:
    for number, heat in enumerate(heats):
        # What was set would say otherwise.
        make_rich(tmp_path / str(number), softly(student(temperature=3, alpha=number), temperature=heat))
    assert used in sectioned(section(collect([tmp_path]))).says[0]

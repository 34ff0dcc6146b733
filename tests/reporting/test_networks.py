from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.reporting.networks import networks
from tests.findings.folders_made import Made
from tests.findings.outputs_made import answered, logits
from tests.reporting.runs_made import collected, softly, student


def heated(temperature: float, teacher: int = 1, **options: object) -> Made:
    made = Made(settings=student(temperature=temperature, **options))
    return answered(made, logits(teacher), logits(int(10 * temperature)), temperature=temperature)


def named(runs: dict[str, Made], folder: Path) -> list[str]:
    return [network.name for network in networks(collected(runs, folder).groups)]


def test_a_teacher_whose_outputs_were_softened_differently_is_one_network(tmp_path: Path) -> None:
    teacher, *students = networks(collected({"a": heated(2), "b": heated(5)}, tmp_path).groups)
    assert teacher.name == "teacher plain"
    assert sorted(heat for heat in teacher.by_temperature if heat) == [2, 5]
    for made, heat in ((heated(2), 2), (heated(5), 5)):
        assert [one.softness for one in teacher.by_temperature[heat]] == [made.outputs["teacher"].softness]
    assert [network.name for network in students] == ["student kd:temperature=2", "student kd:temperature=5"]


def test_teachers_that_were_asked_for_alike_and_are_others_are_named_by_where_they_stand(tmp_path: Path) -> None:
    assert named({"a": heated(2), "b": heated(5, teacher=3)}, tmp_path)[:2] == [
        "teacher plain, in kd:temperature=2",
        "teacher plain, in kd:temperature=5",
    ]


def test_a_guarded_teacher_is_told_apart_from_its_network_at_the_same_temperature(tmp_path: Path) -> None:
    runs = {str(number): softly(student(alpha=number), guarded=bool(number)) for number in (0, 1)}
    assert named(runs, tmp_path)[:2] == ["teacher plain, in kd:alpha=0", "teacher plain, in kd:alpha=1"]


def test_one_network_by_two_names_is_told_once_where_all_is_the_same(tmp_path: Path) -> None:
    def typed(teacher: str, heat: float) -> Made:
        settings = {"teacher": {"name": teacher}, "typed": {"teacher": [teacher], "student": ["kd"]}}
        return attrs.evolve(heated(heat), settings=settings)

    alike = networks(collected({"a": typed("plain", 2), "b": typed("again", 2)}, tmp_path / "alike").groups)
    assert [(network.name, network.also) for network in alike] == [
        ("teacher plain", ("teacher again",)),
        ("student: plain", ("student: again",)),
    ]
    # What was softened otherwise may be guarded otherwise.
    assert len(named({"a": typed("plain", 2), "b": typed("again", 5)}, tmp_path / "otherwise")) == 4

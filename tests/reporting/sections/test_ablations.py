from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.findings.folders import Collection, collect
from rcframe.findings.records import RowRecord
from rcframe.reporting.sections.ablations import section
from tests.findings.folders_made import Made, make_matrix, right, row
from tests.reporting.runs_made import collected, column, measured, sectioned, student


def test_accuracies_stand_over_the_setting_that_was_varied(tmp_path: Path) -> None:
    runs = {str(heat): measured(count, settings=student(temperature=heat)) for heat, count in ((1, 20), (20, 30))}
    (exhibit,) = sectioned(section(collected(runs, tmp_path))).exhibits
    assert exhibit.name == "ablation-student-temperature"
    assert column(exhibit.data, "temperature of the student") == ["1", "20"]
    assert column(exhibit.data, "student, clean") == ["50", "75"]
    assert column(exhibit.data, "student, clean: low")[0] == "35.2"
    assert column(exhibit.data, "student, pgd:steps=5") == ["25", "50"]
    assert column(exhibit.data, "teacher, clean") == ["90", "90"]


def test_seeds_are_averaged(tmp_path: Path) -> None:
    runs = {
        f"{heat}-{seed}": attrs.evolve(measured(20 + 4 * seed, settings=student(temperature=heat)), seed=seed)
        for heat in (1, 2)
        for seed in (0, 1)
    }
    (exhibit,) = sectioned(section(collected(runs, tmp_path))).exhibits
    assert column(exhibit.data, "student, clean") == ["55", "55"]


def of(student_: str, heat: int, *, count: int = 30, teacher: str = "plain", precision: str = "fp32") -> Made:
    """A student whose options are named all."""
    settings = {
        "teacher": {"name": teacher, "epochs": 3},
        "student": [{"name": student_, "temperature": heat, "alpha": 0.5, "epochs": 4}],
        "typed": {"teacher": [f"{teacher}:epochs=3"], "student": [f"{student_}:temperature={heat},epochs=4"]},
        "precision": precision,
    }
    return Made(student=right(count), settings=settings)


def legends(collection: Collection) -> list[str]:
    (exhibit,) = sectioned(section(collection)).exhibits
    return [key.name for key in exhibit.legend]


def test_students_of_one_teacher_are_drawn_beside_it_and_it_once(tmp_path: Path) -> None:
    runs = {
        f"{name}{heat}": of(name, heat, count=count) for name, count in (("kd", 30), ("sly", 20)) for heat in (1, 2)
    }
    # The teacher of more temperatures is the same.
    runs["kd9"] = of("kd", 9)
    found = collected(runs, tmp_path)
    assert legends(found) == ["teacher", "student: kd:epochs=4", "student: sly:epochs=4"]
    data = sectioned(section(found)).exhibits[0].data
    assert column(data, "teacher") == ["90", "90", "90"]
    assert column(data, "student: sly:epochs=4") == ["50", "50", "-"]


def test_networks_with_equal_numbers_by_chance_keep_their_lines(tmp_path: Path) -> None:
    runs = {f"{p}-{heat}": of("kd", heat, precision=p) for p in ("fp32", "bf16") for heat in (1, 2)}
    assert sorted(legends(collected(runs, tmp_path))) == [
        "student: precision bf16",
        "student: precision fp32",
        "teacher: precision bf16",
        "teacher: precision fp32",
    ]


def test_one_network_with_two_numbers_keeps_both_lines(tmp_path: Path) -> None:
    runs = {f"{name}{heat}": of(name, heat) for name in ("kd", "sly") for heat in (1, 2)}
    runs["sly2"] = attrs.evolve(runs["sly2"], teacher=right(35))
    names = legends(collected(runs, tmp_path))
    assert len(names) == len(set(names)) == 4


def test_a_student_is_not_named_by_its_teacher(tmp_path: Path) -> None:
    runs = {f"{t}{heat}": of("kd", heat, teacher=t) for t in ("plain", "sly") for heat in (1, 2)}
    assert legends(collected(runs, tmp_path)) == [
        "teacher: plain:epochs=3",
        "student: taught by plain:epochs=3",
        "teacher: sly:epochs=3",
        "student: taught by sly:epochs=3",
    ]


def labelled(name: str, made: Made, **labels: str) -> tuple[RowRecord, Made]:
    return attrs.evolve(row(name), labels=labels), made


def test_rows_of_a_matrix_are_named_by_its_labels(tmp_path: Path) -> None:
    rows = [
        labelled(f"{t}-{s}-{heat}", of(s, heat, teacher=t), teacher=f"a {t}", student=f"my {s}", heat=word)
        for t in ("plain", "sly")
        for s in ("kd", "hint")
        for heat, word in ((1, "cool"), (2, "warm"))
    ]
    assert legends(collect([make_matrix(tmp_path / "m", rows)])) == [
        "teacher: a plain",
        "student: a plain, my kd",
        "student: a plain, my hint",
        "teacher: a sly",
        "student: a sly, my kd",
        "student: a sly, my hint",
    ]


def test_eps_and_the_number_of_images_are_no_ablations(tmp_path: Path) -> None:
    runs = {"a": measured(30, "0.1"), "b": measured(30, "0.2"), "c": measured(30, "0.1", settings={"eval_size": 7})}
    assert section(collected(runs, tmp_path)) is None

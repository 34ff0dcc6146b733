from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.reporting.sections.ablations import section
from tests.findings.folders_made import Made, right
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


def test_several_families_are_drawn_together_for_each_accuracy_and_a_shared_teacher_once(tmp_path: Path) -> None:
    runs = {
        f"{precision}-{heat}": Made(
            student=right(count), settings={**student(temperature=heat), "precision": precision}
        )
        for precision, count in (("fp32", 30), ("bf16", 20))
        for heat in (1, 2)
    }
    (exhibit,) = sectioned(section(collected(runs, tmp_path))).exhibits
    assert [key.name for key in exhibit.legend] == [
        "teacher: precision bf16 and 1 more",
        "student: precision bf16",
        "student: precision fp32",
    ]
    assert column(exhibit.data, "student: precision bf16") == ["50", "50"]
    assert column(exhibit.data, "student: precision fp32") == ["75", "75"]


def test_eps_and_the_number_of_images_are_no_ablations(tmp_path: Path) -> None:
    runs = {"a": measured(30, "0.1"), "b": measured(30, "0.2"), "c": measured(30, "0.1", settings={"eval_size": 7})}
    assert section(collected(runs, tmp_path)) is None

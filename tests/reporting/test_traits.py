from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from rcframe.findings.folders import collect
from rcframe.reporting.families import families
from rcframe.reporting.traits import Trait, in_words, matrix_of
from tests.findings.folders_made import Made, make_matrix, make_run, row
from tests.reporting.runs_made import collected, student


def names(*folders: Path) -> list[str]:
    return [family.name for family in families(collect(folders).groups, "student.temperature")]


def heated(folder: Path, **labels: str) -> Path:
    """A matrix of two temperatures of one student."""
    rows = []
    for heat in (1, 2):
        record = attrs.evolve(row(str(heat)), labels={**labels, "heat": str(heat)})
        rows.append((record, Made(settings={**student(temperature=heat), "precision": folder.name})))
    return make_matrix(folder, rows)


def test_several_matrices_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    folders = [heated(tmp_path / name, student="kd") for name in ("fp32", "bf16")]
    assert names(*folders) == ["kd, matrix fp32", "kd, matrix bf16"]
    assert names(folders[0]) == [""]


def test_a_run_beside_a_matrix_is_said_to_be_of_none(tmp_path: Path) -> None:
    for heat in (1, 2):
        make_run(tmp_path / "alone" / str(heat), Made(settings=student(temperature=heat)))
    assert names(heated(tmp_path / "fp32", student="kd"), tmp_path / "alone") == ["kd, matrix fp32", "no matrix"]


def test_equal_labels_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    rows = [
        (
            attrs.evolve(row(f"{precision}{heat}"), labels={"student": "kd", "heat": str(heat)}),
            Made(settings={**student(temperature=heat), "precision": precision}),
        )
        for precision in ("fp32", "bf16")
        for heat in (1, 2)
    ]
    assert names(make_matrix(tmp_path / "m", rows)) == ["kd, precision fp32", "kd, precision bf16"]


def test_labels_that_are_values_say_of_what(tmp_path: Path) -> None:
    rows = [
        (
            attrs.evolve(row(f"{ratio}-{heat}"), labels={"pruner.ratio": ratio, "heat": str(heat)}),
            Made(settings={**student(temperature=heat), "pruner": [{"name": "filters", "ratio": ratio}]}),
        )
        for ratio in ("0.3", "0.5")
        for heat in (1, 2)
    ]
    assert names(make_matrix(tmp_path / "m", rows)) == ["ratio 0.3", "ratio 0.5"]


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ("{0}:temperature=2", "{0}"),
        ("{0}:temperature=2,epochs=4", "{0}:epochs=4"),
        ("{0}:2", "{0}"),
        ("{0}:layers=(a,b),temperature=2", "{0}:layers=(a,b)"),
        ("acme/{0}:temperature=2", "acme/{0}"),
    ],
)
def test_the_setting_that_is_drawn_is_left_out_of_what_was_typed(tmp_path: Path, typed: str, left: str) -> None:
    runs = {
        f"{name}{heat}": Made(
            settings={
                "student": [{"name": name, "temperature": heat}],
                "typed": {"student": [typed.format(name)]},
            }
        )
        for name in ("kd", "hint")
        for heat in (2, 3)
    }
    found = families(collected(runs, tmp_path).groups, "student.temperature")
    assert sorted(family.name for family in found) == [left.format("hint"), left.format("kd")]


def test_of_several_attacks_what_was_typed_is_named_and_not_each_option(tmp_path: Path) -> None:
    runs = {
        f"{steps}{heat}": Made(
            settings={
                **student(temperature=heat),
                "attack": [{"name": "fgsm"}, {"name": "pgd", "steps": steps, "restarts": steps}],
                "typed": {"attack": ["fgsm", f"pgd:steps={steps}"], "student": ["kd"]},
            }
        )
        for steps in (5, 7)
        for heat in (1, 2)
    }
    found = families(collected(runs, tmp_path).groups, "student.temperature")
    assert [family.name for family in found] == ["fgsm, pgd:steps=5", "fgsm, pgd:steps=7"]


def test_what_nothing_tells_apart_is_numbered(tmp_path: Path) -> None:
    runs = {
        f"{alpha}{heat}": Made(
            settings={
                "student": [{"name": "kd", "alpha": alpha, "temperature": heat}],
                "typed": {"student": [f"kd:temperature={heat}"]},
            }
        )
        for alpha in (0.1, 0.2)
        for heat in (1, 2)
    }
    found = families(collected(runs, tmp_path).groups, "student.temperature")
    assert [family.name for family in found] == ["kd", "kd, number 2"]


def test_a_teacher_s_label_stands_bare_only_beside_its_student_s() -> None:
    teacher, pupil = Trait("teacher", "plain", labelled=True), Trait("student", "kd", labelled=True)
    assert in_words((teacher, pupil)) == "plain, kd"
    assert in_words((teacher,)) == "taught by plain"
    assert in_words((Trait("teacher", "plain:epochs=3"), Trait("student", "kd"))) == "taught by plain:epochs=3, kd"


def test_the_matrix_of_a_row_is_the_folder_that_its_own_lies_in(tmp_path: Path) -> None:
    (group, _) = collect([heated(tmp_path / "m")]).groups
    assert matrix_of(group) == (tmp_path / "m").resolve()
    make_run(tmp_path / "alone")
    assert matrix_of(collect([tmp_path / "alone"]).groups[0]) is None

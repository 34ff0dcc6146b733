from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np

from rcframe.findings.folders import Collection, collect
from rcframe.reporting.sections.classes import section
from rcframe.session.layout import RunFiles
from tests.findings.folders_made import IMAGES, Made, falls, right
from tests.reporting.runs_made import CLASSES, collected, column, curved, measured, sectioned, student

#: Classes in turn: of 40 images, 10 of each.
TURNS = np.arange(IMAGES) % len(CLASSES)


def one(folder: Path, made: Made) -> Collection:
    return collected({"a": made}, folder)


def many_classes(count: int) -> Made:
    classes = tuple(f"class {number}" for number in range(count))
    return Made(truth=np.arange(IMAGES) % count, classes=classes, attacked={"pgd": (right(30), right(10))})


def test_each_class_has_its_accuracy_clean_and_in_the_worst_case_in_both_networks(tmp_path: Path) -> None:
    (table,) = sectioned(section(one(tmp_path, curved()))).tables
    assert table.columns == (
        "class",
        "images",
        "teacher clean",
        "teacher under attack",
        "student clean",
        "student under attack",
    )
    assert column(table, "class") == list(CLASSES)
    assert column(table, "images") == ["10"] * 4
    # The first 30 of 40 images are right: 8 of the first two classes, 7 of the others. Wilson's intervals.
    assert column(table, "student clean") == ["80.0 [49.0, 94.3]"] * 2 + ["70.0 [39.7, 89.2]"] * 2
    # Of 12 images that withstand pgd, the last, there are 3 of each class.
    assert column(table, "student under attack") == ["30.0 [10.8, 60.3]"] * 4
    assert table.notes == ("Under attack: right under each of pgd:steps=5, fgsm at eps 51/255.",)


def test_what_one_attack_breaks_and_another_does_not_is_broken(tmp_path: Path) -> None:
    first = falls(0, 0, 10, radii=("0", "0.1"))
    both = {"pgd": (first, first), "fgsm": (first[::-1].copy(), first[::-1].copy())}
    made = Made(radii=("0", "0.1"), breaking=both, truth=np.arange(IMAGES) // 20, student=right(40), teacher=right(40))
    (table,) = sectioned(section(one(tmp_path, made))).tables
    # Each attack breaks 10 of the images of one class and none of the other.
    assert [cell.split()[0] for cell in column(table, "student under attack")] == ["50.0", "50.0"]


def test_without_an_attack_only_clean_accuracies_are_there(tmp_path: Path) -> None:
    found = sectioned(section(one(tmp_path, Made(truth=TURNS, classes=CLASSES))))
    (table,) = found.tables
    assert table.columns == ("class", "images", "teacher clean", "student clean")
    assert table.notes == ()
    assert [exhibit.caption for exhibit in found.exhibits] == [
        "What the teacher takes the classes for, clean.",
        "What the student takes the classes for, clean.",
    ]


def test_confusion_is_shown_clean_and_under_the_strongest_attack_of_both_networks(tmp_path: Path) -> None:
    found = sectioned(section(one(tmp_path, curved())))
    assert [exhibit.caption for exhibit in found.exhibits] == [
        "What the teacher takes the classes for, clean.",
        "What the teacher takes the classes for, under `pgd:steps=5` at eps 51/255, its strongest attack.",
        "What the student takes the classes for, clean.",
        "What the student takes the classes for, under `pgd:steps=5` at eps 51/255, its strongest attack.",
    ]
    heats = [exhibit.heat for exhibit in found.exhibits]
    student_clean, student_attacked = heats[2], heats[3]
    assert student_clean
    assert student_attacked
    # What is wrong was made the next class.
    assert [cell.count for cell in student_clean.rows[3].cells] == [3, 0, 0, 7]
    assert [cell.count for cell in student_attacked.rows[3].cells] == [7, 0, 0, 3]
    assert [cell.good for cell in student_attacked.rows[3].cells] == [False, False, False, True]
    assert ("$x$", CLASSES[0], "7", "70.0") in found.exhibits[3].data.rows


def test_a_teacher_that_configurations_share_is_shown_once(tmp_path: Path) -> None:
    runs = {"a": curved(student(temperature=1)), "b": attrs.evolve(curved(student(temperature=2)), student=right(25))}
    found = sectioned(section(collected(runs, tmp_path)))
    teachers = [exhibit for exhibit in found.exhibits if "teacher" in exhibit.caption]
    assert len(teachers) == 2
    assert len(found.tables) == 2
    assert found.tables[0].title.endswith(": kd:temperature=1")
    clean = [
        exhibit.caption for exhibit in found.exhibits if "student" in exhibit.caption and "clean" in exhibit.caption
    ]
    assert len(clean) == 2


def test_many_classes_are_thinned_out_and_a_sentence_says_so(tmp_path: Path) -> None:
    found = sectioned(section(one(tmp_path, many_classes(30))))
    (table,), (whole,) = found.tables, found.folded
    assert len(table.rows) == 20
    assert len(whole.rows) == 30
    assert table.title == "Accuracy by class, the 20 lowest"
    kept = {float(cell.split()[0]) for cell in column(table, "student under attack")}
    left = [row for row in whole.rows if row not in table.rows]
    assert max(kept) <= min(float(row[-1].split()[0]) for row in left)
    assert all(exhibit.heat and len(exhibit.heat.rows) == 12 for exhibit in found.exhibits)
    assert all(exhibit.heat and exhibit.heat.columns[-1] == "others" for exhibit in found.exhibits)
    assert found.says[-1].startswith("Of 30 classes, tables show the 20")
    few = sectioned(section(one(tmp_path / "few", many_classes(20))))
    assert not few.folded
    assert not any("20 classes" in said for said in few.says)


def test_many_configurations_are_cut_and_a_sentence_says_so(tmp_path: Path) -> None:
    runs = {str(heat): curved(student(temperature=heat)) for heat in range(1, 6)}
    found = sectioned(section(collected(runs, tmp_path)))
    assert len(found.tables) == 3
    assert "The first 3 of 5 configurations are shown." in found.says


def test_of_many_configurations_some_of_every_teacher_are_shown(tmp_path: Path) -> None:
    def typed(teacher: str, pupil: str) -> dict[str, object]:
        return {
            "teacher": {"name": teacher},
            "student": [{"name": pupil}],
            "typed": {"teacher": [teacher], "student": [pupil]},
        }

    runs = {f"{mentor}-{pupil}": curved(typed(mentor, pupil)) for mentor in ("one", "two") for pupil in ("a", "b", "c")}
    found = sectioned(section(collected(runs, tmp_path)))
    assert [table.title.rpartition(": ")[2] for table in found.tables] == ["one, a", "one, b", "two, a"]
    said = "3 of 6 configurations, the first of each teacher, then the second of each and so on, are shown."
    assert said in found.says


def test_that_of_several_seeds_the_lowest_is_shown_is_said_where_there_are_several(tmp_path: Path) -> None:
    said = "Of several seeds, the lowest is shown."
    runs = {str(seed): attrs.evolve(curved(), seed=seed) for seed in (0, 1)}
    assert sectioned(section(collected(runs, tmp_path / "several"))).says[0].startswith(said)
    assert not any("seed" in told for told in sectioned(section(one(tmp_path / "single", curved()))).says)


def test_runs_that_did_not_count_classes_have_no_section(tmp_path: Path) -> None:
    assert section(one(tmp_path, measured(30))) is None


def test_a_run_without_evidence_still_has_its_table(tmp_path: Path) -> None:
    one(tmp_path, curved())
    RunFiles(tmp_path / "a").evidence.unlink()
    found = sectioned(section(collect([tmp_path])))
    assert len(found.tables) == 1
    assert found.exhibits == ()
    assert not any("Blue" in said for said in found.says)

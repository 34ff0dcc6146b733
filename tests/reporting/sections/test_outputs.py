from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest
import torch

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.estimates import estimate_amounts
from rcframe.findings.folders import Collection
from rcframe.findings.overview import amount
from rcframe.findings.tables import Table
from rcframe.reporting.sections.outputs import section
from rcframe.session.evidence import About
from tests.findings.folders_made import IMAGES, Made, make_run
from tests.findings.outputs_made import answered, logits
from tests.reporting.runs_made import CLASSES, collected, column, exhibit, sectioned, softly, student


def tables(collection: Collection) -> dict[str, Table]:
    return {table.title: table for table in sectioned(section(collection)).tables}


def one(folder: Path, made: Made) -> Collection:
    return collected({"a": attrs.evolve(made, classes=CLASSES)}, folder)


def test_agreement_stands_with_its_counts_and_intervals(tmp_path: Path) -> None:
    teacher = 5 * torch.eye(4)[torch.arange(IMAGES) % 4]
    # The student follows in 30 of 40; the teacher is wrong about the last 8, of which it follows in none.
    student_logits = torch.cat([teacher[:30], teacher[30:].roll(1, dims=1)])
    labels = torch.cat([torch.arange(32) % 4, (torch.arange(32, IMAGES) + 1) % 4])
    made = answered(Made(), teacher, student_logits, labels=labels)
    table = tables(one(tmp_path, made))["Agreement with the teacher"]
    assert column(table, "network") == ["student"]
    assert column(table, "images") == ["40"]
    # Wilson's interval of 30 of 40.
    assert column(table, "names the teacher's class (%)") == ["75.0 [59.8, 85.8]"]
    assert column(table, "among the teacher's mistakes (%)") == ["0.0 [0.0, 32.4] of 8"]
    assert column(table, "always one class (%)") == ["25.0"]
    likeness = made.outputs["student"].likeness
    assert likeness is not None
    assert likeness.divergence is not None
    assert column(table, "KL (nats)")[0].startswith(f"{likeness.divergence.value:.2f} [")


def test_a_teacher_without_mistakes_has_none_to_share(tmp_path: Path) -> None:
    table = tables(one(tmp_path, answered(Made(), logits(1), logits(2))))["Agreement with the teacher"]
    assert column(table, "among the teacher's mistakes (%)") == ["-"]


def monotonous(made: Made, temperature: float = 4.0) -> Made:
    """Teacher and student name one class for all images."""
    outputs = torch.tensor([4.0, 0.0, 1.0, 2.0]).repeat(IMAGES, 1)
    return answered(made, outputs, outputs, labels=torch.arange(IMAGES) % 4, temperature=temperature)


def imitating(made: Made) -> Made:
    """The student names the teacher's class, whichever that is."""
    return answered(made, logits(1), logits(1) / 2)


def test_agreement_that_naming_one_class_reaches_too_is_remarked_on(tmp_path: Path) -> None:
    runs = {"a": monotonous(Made(settings=student(alpha=1))), "b": imitating(Made(settings=student(alpha=2)))}
    table = tables(collected(runs, tmp_path))["Agreement with the teacher"]
    assert column(table, "always one class (%)")[0] == "100.0"
    assert table.notes[-1] == (
        "No more than by always naming one class: `student kd:alpha=1`. There, agreement is no sign of imitation."
    )
    alone = tables(one(tmp_path / "alone", imitating(Made())))["Agreement with the teacher"]
    assert not any("imitation" in note for note in alone.notes)


@pytest.mark.parametrize(
    ("seeds", "intervals", "mistakes"),
    [
        ([1], "95% intervals over images; with one seed they say nothing of others.", "is over these alone."),
        ([2, 2], "Means over the seeds, with 95% intervals over seeds and images.", "holds no noise of the seeds."),
        ([1, 2], "over seeds and images; with one seed, over images alone.", "holds no noise of the seeds."),
    ],
    ids=["one seed", "two seeds", "both"],
)
def test_the_notes_say_what_the_intervals_are_over(
    tmp_path: Path, seeds: list[int], intervals: str, mistakes: str
) -> None:
    runs = {
        f"{place}-{seed}": answered(
            Made(seed=seed, settings=student(alpha=place)), logits(seed), logits(9 + place + seed)
        )
        for place, count in enumerate(seeds)
        for seed in range(count)
    }
    found = tables(collected(runs, tmp_path))
    assert len(found) == 3
    agreement, softness, calibration = (table.notes for table in found.values())
    assert all(intervals in notes[0] for notes in (agreement, softness, calibration))
    assert all(("Means over" in notes[0]) is (max(seeds) > 1) for notes in (agreement, softness, calibration))
    assert agreement[1].startswith("Among the teacher's mistakes: of the images that the teacher gets wrong")
    assert agreement[1].endswith(mistakes)


def test_each_temperature_has_a_table_in_which_the_teacher_stands_once(tmp_path: Path) -> None:
    runs = {
        str(heat): answered(Made(settings=student(temperature=heat)), logits(1), logits(heat), temperature=heat)
        for heat in (16, 2)
    }
    found = collected(runs, tmp_path)
    titles = list(tables(found))
    assert titles[1:3] == ["Outputs softened at temperature 2", "Outputs softened at temperature 16"]
    for title, heat in zip(titles[1:3], (2, 16), strict=True):
        table = tables(found)[title]
        assert column(table, "network") == ["teacher plain", f"student kd:temperature={heat}"]
        made = runs[str(heat)].outputs["teacher"].softness
        assert made is not None
        assert column(table, "entropy")[0].startswith(f"{made.entropy.value:.2f} [")
    assert column(tables(found)["Calibration"], "network")[0] == "teacher plain"
    assert len(column(tables(found)["Calibration"], "network")) == 3


def test_softness_is_told_of_the_network_and_of_what_leaves(tmp_path: Path) -> None:
    made = softly({}, guarded=True)
    table = tables(one(tmp_path, made))["Outputs softened at temperature 4"]
    assert column(table, "network") == ["teacher", "teacher, what it releases", "student"]
    assert column(table, "peaks")[1] == "1.00 [1.00, 1.00]"
    assert column(table, "entropy")[1] == "0.00 [0.00, 0.00]"
    peaks = [made.peaks[About(role, "clean")].mean() for role in ("teacher", "student")]
    assert [column(table, "peaks")[place].split()[0] for place in (0, 2)] == [f"{mean:.2f}" for mean in peaks]


def test_the_calibration_error_stands_beside_what_chance_makes_of_it(tmp_path: Path) -> None:
    made = answered(Made(), logits(1), logits(2))
    table = tables(one(tmp_path, made))["Calibration"]
    known = [made.outputs[role].calibration for role in ("teacher", "student")]
    assert [cell.split()[0] for cell in column(table, "calibration error (%)")] == [
        f"{100 * each.error.value:.2f}" for each in known if each
    ]
    assert column(table, "by chance alone (%)") == [f"{100 * each.by_chance:.2f}" for each in known if each]


def test_over_seeds_the_means_and_their_intervals_are_told(tmp_path: Path) -> None:
    made = [answered(Made(seed=seed), logits(1 + seed), logits(5 + seed)) for seed in (0, 1)]
    for run in made:
        make_run(tmp_path / str(run.seed), run)
    from rcframe.findings.folders import collect

    found = tables(collect([tmp_path]))
    margins = [run.outputs["student"].softness for run in made]
    amounts: list[Amount] = [each.margin for each in margins if each]
    assert column(found["Outputs softened at temperature 4"], "margin")[1] == amount(estimate_amounts(amounts))
    calibration = [run.outputs["student"].calibration for run in made]
    chance = np.mean([100 * each.by_chance for each in calibration if each])
    assert column(found["Calibration"], "by chance alone (%)")[1] == f"{chance:.2f}"


def test_teachers_come_first_and_one_that_runs_share_once(tmp_path: Path) -> None:
    runs = {str(n): answered(Made(settings=student(alpha=n / 10)), logits(1), logits(2 + n)) for n in (1, 2)}
    found = collected(runs, tmp_path)
    assert column(tables(found)["Calibration"], "network") == [
        "teacher plain",
        "student kd:alpha=0.1",
        "student kd:alpha=0.2",
    ]
    names = [one.name for one in sectioned(section(found)).exhibits]
    assert names == [f"{kind}-{place}" for kind in ("profile", "reliability") for place in (1, 2, 3)]


def test_a_network_behind_a_defence_is_drawn_once_with_what_leaves(tmp_path: Path) -> None:
    def typed(teacher: str) -> dict[str, object]:
        return {"teacher": {"name": teacher}, "typed": {"teacher": [teacher], "student": ["kd"]}}

    runs = {name: softly(typed(name), guarded=name == "guarded") for name in ("plain", "guarded")}
    found = sectioned(section(collected(runs, tmp_path)))
    assert [one.name for one in found.exhibits] == [
        *("profile-1", "profile-2-released", "profile-3"),
        *("reliability-1", "reliability-3"),
    ]
    assert exhibit(found, "profile-1").caption.endswith(": teacher plain.")
    assert exhibit(found, "profile-2-released").caption.endswith("teacher guarded, what it releases.")


def typed(teacher: str, pupil: str = "kd", **options: object) -> dict[str, object]:
    """Settings of a teacher and a student by their names, with options of the student."""
    return {
        "teacher": {"name": teacher},
        "student": [{"name": pupil, **options}],
        "typed": {"teacher": [teacher], "student": [pupil]},
    }


def test_a_network_stands_in_one_row_however_many_guards_stand_before_it(tmp_path: Path) -> None:
    runs = {name: softly(typed(name), guarded=name != "plain") for name in ("guarded", "plain")}
    found = tables(collected(runs, tmp_path))
    assert column(found["Calibration"], "network") == ["teacher plain", "student: guarded"]
    assert column(found["Outputs softened at temperature 4"], "network") == [
        "teacher plain",
        "teacher guarded, what it releases",
        "student: guarded",
    ]
    told = (
        "One network each, told once: `teacher plain`, also called `teacher guarded`; `student: guarded`, also called "
        "`student: plain`."
    )
    assert [table.notes[-1] for table in list(found.values())[1:]] == [told, told]
    assert found["Agreement with the teacher"].notes[-1] == (
        "One network, told once: `student: guarded`, also called `student: plain`."
    )


def test_a_student_that_never_asks_stands_once_beside_all_teachers(tmp_path: Path) -> None:
    """Of different teachers it agrees differently, so agreement has a row for each."""
    truth = torch.arange(IMAGES) % 4
    runs = {
        f"{mentor}-{pupil}": answered(Made(settings=typed(mentor, pupil)), logits(place), logits(answers), labels=truth)
        for place, mentor in enumerate(("one", "two"))
        for pupil, answers in (("alone", 8), ("kd", 10 + place))
    }
    found = tables(collected(runs, tmp_path))
    alone = ["student: one, alone", "student: two, alone"]
    for title in ("Calibration", "Outputs softened at temperature 4"):
        names = column(found[title], "network")
        assert [name for name in names if name.endswith("alone")] == alone[:1]
        assert len(names) == 5
        assert found[title].notes[-1] == f"One network, told once: `{alone[0]}`, also called `{alone[1]}`."
    assert len(column(found["Agreement with the teacher"], "network")) == 4
    assert not any("told once" in note for note in found["Agreement with the teacher"].notes)


def test_networks_that_are_equal_in_one_seed_only_are_two(tmp_path: Path) -> None:
    truth = torch.arange(IMAGES) % 4
    runs = {
        f"{mentor}-{seed}": answered(
            Made(seed=seed, settings=typed(mentor, "alone")), logits(place), logits(8 + place * seed), labels=truth
        )
        for place, mentor in enumerate(("one", "two"))
        for seed in (0, 1)
    }
    assert len(column(tables(collected(runs, tmp_path))["Calibration"], "network")) == 4


def test_it_is_said_whose_temperature_outputs_were_softened_at(tmp_path: Path) -> None:
    def settings(pupil: str, **options: object) -> dict[str, object]:
        return {**typed("sly", pupil, **options), "teacher": {"name": "sly", "temperature": 20.0}}

    runs = {
        "alone": answered(Made(settings=settings("alone")), logits(1), logits(2), temperature=20),
        "same": answered(Made(settings=settings("same", temperature=20)), logits(1), logits(3), temperature=20),
        "other": answered(Made(settings=settings("other", temperature=8)), logits(1), logits(5), temperature=4),
    }
    found = tables(collected(runs, tmp_path))
    assert found["Outputs softened at temperature 20"].notes[1:] == (
        "`student alone`: softened at 20, the temperature of its teacher.",
    )
    why = "softened at 4, since the parts of a run are set to several."
    assert found["Outputs softened at temperature 4"].notes[1:] == (
        f"`teacher sly`: set to temperature 20, but {why}",
        f"`student other`: set to temperature 8, but {why}",
    )


def test_drawings_say_which_seed_they_are_of_where_tables_are_means(tmp_path: Path) -> None:
    runs = {str(seed): answered(Made(seed=seed), logits(1 + seed), logits(5 + seed)) for seed in (3, 4)}
    found = sectioned(section(collected(runs, tmp_path / "several")))
    assert all(", seed 3." in one.caption for one in found.exhibits)
    assert any("Each drawing is of a single seed, the lowest" in said for said in found.says)
    single = sectioned(section(collected({"3": runs["3"]}, tmp_path / "single")))
    assert len(single.exhibits) == len(found.exhibits) == 4
    assert not any("seed" in text for text in (*single.says, *(one.caption for one in single.exhibits)))


def test_of_many_students_some_of_every_teacher_are_drawn(tmp_path: Path) -> None:
    runs = {
        f"{mentor}-{pupil}": answered(
            Made(settings=typed(mentor, pupil)), logits(place), logits(10 + 10 * place + int(pupil[1:]))
        )
        for place, mentor in enumerate(("one", "two"))
        for pupil in ("s1", "s2", "s3", "s4")
    }
    found = sectioned(section(collected(runs, tmp_path)))
    drawn = [one.caption.rpartition(": ")[2] for one in found.exhibits if one.name.startswith("reliability")]
    assert drawn == ["teacher one.", "teacher two.", "one, s1.", "one, s2.", "two, s1.", "two, s2."]
    said = "6 of 10 networks, the first of each teacher, then the second of each and so on, are drawn."
    assert found.says[-1] == said


def test_of_many_networks_the_first_are_drawn_and_all_are_told(tmp_path: Path) -> None:
    runs = {str(n): answered(Made(settings=student(alpha=n / 10)), logits(n), logits(20 + n)) for n in range(1, 5)}
    found = sectioned(section(collected(runs, tmp_path)))
    assert len(found.exhibits) == 12
    assert "The first 6 of 8 networks are drawn." in found.says
    assert len(found.tables[1].rows) == 8


def test_many_classes_are_not_drawn_one_by_one(tmp_path: Path) -> None:
    made = answered(Made(), logits(1, 30), logits(2, 30))
    many = attrs.evolve(made, profiles={}, classes=tuple(f"class {number}" for number in range(30)))
    found = sectioned(section(collected({"a": many}, tmp_path)))
    assert [one.name for one in found.exhibits] == ["reliability-1", "reliability-2"]
    assert found.says[-1] == "Mean outputs class by class are left out: 30 classes are too many to look at."


@pytest.mark.parametrize("images", ["the images", None])
def test_runs_that_say_nothing_of_outputs_have_no_section(tmp_path: Path, images: str | None) -> None:
    assert section(collected({"a": Made(images=images)}, tmp_path)) is None


def test_runs_without_evidence_have_tables_and_the_diagrams_of_their_reports(tmp_path: Path) -> None:
    found = sectioned(section(one(tmp_path, answered(Made(images=None), logits(1), logits(2)))))
    assert [table.title for table in found.tables] == [
        "Agreement with the teacher",
        "Outputs softened at temperature 4",
        "Calibration",
    ]
    assert [one.name for one in found.exhibits] == ["reliability-1", "reliability-2"]

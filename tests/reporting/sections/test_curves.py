from __future__ import annotations

import json
from pathlib import Path

from rcframe.findings.folders import Collection, collect
from rcframe.reporting.sections.curves import section
from rcframe.session.layout import RunFiles
from tests.findings.folders_made import Made, make_run
from tests.reporting.runs_made import column, make_curves, sectioned, student


def with_curve(path: Path, losses: dict[int, float], seed: int = 0, heat: int = 1) -> Collection:
    make_run(path, Made(seed=seed, settings=student(temperature=heat)))
    lines = [
        {"stage": "student/train", "epoch": epoch, "seconds": None, "loss": loss} for epoch, loss in losses.items()
    ]
    RunFiles(path).metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return collect([path.parent])


def test_seeds_are_averaged_with_a_band_from_the_lowest_to_the_highest(tmp_path: Path) -> None:
    with_curve(tmp_path / "a", {1: 4.0, 2: 2.0}, seed=0)
    (exhibit,) = sectioned(section(with_curve(tmp_path / "b", {1: 8.0, 2: 2.0}, seed=1))).exhibits
    name = exhibit.legend[0].name
    assert column(exhibit.data, name) == ["6", "2"]
    assert column(exhibit.data, f"{name}: low") == ["4", "2"]
    assert column(exhibit.data, f"{name}: high") == ["8", "2"]
    assert exhibit.caption == "Loss in the stage student/train."


def test_seeds_are_spoken_of_where_there_are_several(tmp_path: Path) -> None:
    with_curve(tmp_path / "a", {1: 1.0})
    assert sectioned(section(collect([tmp_path]))).says == ("Equal curves are drawn once.",)
    with_curve(tmp_path / "b", {1: 2.0}, seed=1)
    (said,) = sectioned(section(collect([tmp_path]))).says
    assert said.startswith("Means over seeds; a band reaches")


def test_stages_and_metrics_have_a_figure_each_the_teacher_first_and_accuracies_in_percent(tmp_path: Path) -> None:
    make_curves(make_run(tmp_path / "a"), epochs=3, stages=("student/train", "teacher/train"))
    exhibits = sectioned(section(collect([tmp_path]))).exhibits
    assert [exhibit.name for exhibit in exhibits] == [
        "curve-1-teacher-train-loss",
        "curve-2-teacher-train-accuracy",
        "curve-3-student-train-loss",
        "curve-4-student-train-accuracy",
    ]
    assert column(exhibits[1].data, "a") == ["50", "66.67", "75"]


def test_equal_curves_are_drawn_once(tmp_path: Path) -> None:
    with_curve(tmp_path / "a", {1: 4.0}, heat=1)
    with_curve(tmp_path / "b", {1: 4.0}, heat=2)
    (exhibit,) = sectioned(section(with_curve(tmp_path / "c", {1: 5.0}, heat=3))).exhibits
    assert [key.name for key in exhibit.legend] == ["kd:temperature=1 and 1 more", "kd:temperature=3"]


def test_long_trainings_are_thinned_and_keep_their_ends(tmp_path: Path) -> None:
    losses = {epoch: 1 / epoch for epoch in range(1, 1001)}
    (exhibit,) = sectioned(section(with_curve(tmp_path / "a", losses))).exhibits
    epochs = column(exhibit.data, "epoch")
    assert len(epochs) == 100
    assert (epochs[0], epochs[-1]) == ("1", "1000")


def test_of_many_configurations_the_first_are_drawn_and_the_caption_says_so(tmp_path: Path) -> None:
    for number in range(14):
        found = with_curve(tmp_path / f"{number:02}", {1: float(number)}, heat=number + 1)
    (exhibit,) = sectioned(section(found)).exhibits
    assert len(exhibit.legend) == 12
    assert "the first 12 of 14 curves are drawn" in exhibit.caption


def test_what_is_no_number_and_epochs_written_twice_do_no_harm(tmp_path: Path) -> None:
    found = with_curve(tmp_path / "a", {1: float("nan"), 2: 3.0})
    with RunFiles(tmp_path / "a").metrics.open("a") as file:
        file.write('{"stage": "student/train", "epoch": 2, "seconds": null, "loss": 5.0}\n{"stage": "stud')
    (exhibit,) = sectioned(section(found)).exhibits
    assert exhibit.data.rows == (("2", "5"),)


def test_runs_without_curves_have_no_section(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    assert section(collect([tmp_path])) is None

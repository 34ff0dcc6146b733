"""What goes wrong in training, measuring and plugins: a sentence, exit code 1, and a run that can go on."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from rcframe.storage.state_file import read_state

if TYPE_CHECKING:
    from tests.survival.conftest import Bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes")

#: Only what a stage leaves at its end is kept.
SELDOM = "--checkpoint=1000"


def checkpoint(folder: Path, work: str) -> dict[str, object]:
    (path,) = (folder / "progress").glob(f"{work}-*.safetensors")
    state = read_state(path)
    assert isinstance(state, dict)
    return state


def assert_finite(node: object) -> None:
    """Every number in a tree of state is finite."""
    if isinstance(node, torch.Tensor):
        assert not node.is_floating_point() or bool(torch.isfinite(node).all())
    elif isinstance(node, dict):
        for value in node.values():
            assert_finite(value)
    elif isinstance(node, list | tuple):
        for value in node:
            assert_finite(value)
    else:
        assert not isinstance(node, float) or math.isfinite(node)


# -- numbers that are none -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("often", ["--checkpoint=0", SELDOM])
def test_a_loss_that_is_no_number_stops_at_its_very_step(bench: Bench, tmp_path: Path, often: str) -> None:
    run = tmp_path / "run"
    diary = tmp_path / "diary"
    sentence = bench.stopped(bench.begin(run, often, TROUBLE="step:nan", DIARY=str(diary)), run)
    assert "Stage `student/train` broke down in epoch 2 of 2, batch 4 of 6: its loss is nan." in sentence
    assert "Last finite metrics: loss 1." in sentence
    assert "Try a lower learning rate (`lr`)" in sentence
    assert diary.read_text().splitlines()[-1] == "student/train 1 3"
    if often != SELDOM:
        state = checkpoint(run, "student-train")
        assert (state["epoch"], state["batch"]) == (1, 3)
        assert_finite(state)
    bench.goes_on(run)


def test_weights_that_are_no_numbers_replace_no_good_checkpoint(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, TROUBLE="step:cliff"), run)
    assert "Stage `student/train` broke down by epoch 2 of 2, batch 4: the weights" in sentence
    state = checkpoint(run, "student-train")
    assert (state["epoch"], state["batch"]) == (1, 3)
    assert_finite(state)
    bench.goes_on(run)


def test_weights_that_break_down_in_the_last_step_are_no_result(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, SELDOM, TROUBLE="last step:cliff"), run)
    assert "Stage `student/train` broke down by its end: the weights" in sentence
    assert [path.name.rpartition("-")[0] for path in (run / "progress").iterdir()] == ["teacher-train"]
    bench.goes_on(run)


# -- memory --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("craft:device-memory=20", ("Out of memory on 64 images: `teacher: troubled` goes on with 32 at a time.",)),
        (
            "margins:host-memory=7",
            (
                "Out of memory on 32 images: `student: certified by troubled` goes on with 16 at a time.",
                "Out of memory on 8 images: `student: certified by troubled` goes on with 4 at a time.",
            ),
        ),
    ],
)
def test_measuring_goes_on_with_fewer_images_and_says_so(
    bench: Bench, tmp_path: Path, trouble: str, words: tuple[str, ...]
) -> None:
    ended = bench.begin(tmp_path / "run", TROUBLE=trouble)
    assert ended.code == 0, ended
    for line in words:
        assert ended.err.splitlines().count(line) == 1
    assert found_by(tmp_path / "run") == found_by(bench.whole)


def found_by(folder: Path) -> list[object]:
    """What was measured, without the number of calls: smaller portions are more calls about the same images."""
    report = json.loads((folder / "report.json").read_text())
    measured = [report[role][how]["troubled"] for role in ("teacher", "student") for how in ("attacked", "certified")]
    asked = [report[role]["attacked"]["troubled"]["queries"]["images"] for role in ("teacher", "student")]
    return [*((each["accuracy"], each["n"]) for each in measured), *asked]


@pytest.mark.parametrize(
    ("trouble", "what"),
    [("craft:host-memory", "teacher: troubled"), ("margins:device-memory", "teacher: certified by troubled")],
)
def test_no_memory_for_even_one_image_ends_the_run(bench: Bench, tmp_path: Path, trouble: str, what: str) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, TROUBLE=trouble), run)
    assert f"There is no memory to measure `{what}` on even one image." in sentence
    bench.goes_on(run)


@pytest.mark.parametrize("kind", ["device-memory", "host-memory"])
def test_training_without_memory_says_what_to_lower(bench: Bench, tmp_path: Path, kind: str) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, TROUBLE=f"step:{kind}"), run)
    assert "Stage `student/train` ran out of memory in epoch 2, batch 4, on 16 images." in sentence
    assert "Lower its option `batch_size`" in sentence
    bench.goes_on(run)


def test_a_plan_without_memory_is_no_bug(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, TROUBLE="plan:host-memory"), run)
    assert "Out of memory (" in sentence
    assert "choose a smaller model" in sentence
    assert "bug" not in sentence
    bench.goes_on(run)


# -- plugins that fail ---------------------------------------------------------------------------------------------


def line_of(source: Path, words: str) -> int:
    """The number of the one line that has these words."""
    (number,) = (number for number, line in enumerate(source.read_text().splitlines(), 1) if words in line)
    return number


@pytest.mark.parametrize("place", ["step", "observer", "plan", "craft", "margins"])
def test_a_plugin_that_raises_is_named_with_file_and_line(bench: Bench, tmp_path: Path, place: str) -> None:
    run, source = tmp_path / "run", bench.site / "troubled.py"
    sentence = bench.stopped(bench.begin(run, TROUBLE=f"{place}:raise"), run)
    where = f"{source}, line {line_of(source, 'raise TypeError')}"
    assert f"TypeError in {where}: a mistake in {place}. This is a bug of rcframe, of a plugin" in sentence
    bench.goes_on(run)


def test_a_plugin_is_named_although_a_library_raised(bench: Bench, tmp_path: Path) -> None:
    run, source = tmp_path / "run", bench.site / "troubled.py"
    sentence = bench.stopped(bench.begin(run, TROUBLE="step:raise-in-a-library"), run)
    assert f"IndexError in {source}, line {line_of(source, 'tensor([7, 7])')}: Target 7 is out of bounds. " in sentence
    bench.goes_on(run)


@pytest.mark.parametrize("hook", ["run_started", "epoch_done", "run_finished"])
def test_an_observing_hook_that_raises_does_not_stop_the_run(bench: Bench, tmp_path: Path, hook: str) -> None:
    run = tmp_path / "run"
    assert bench.begin(run, TROUBLE=f"{hook}:raise").code == 0
    bench.undisturbed(run)
    notes = [line for line in (run / "log.txt").read_text().splitlines() if "WARNING" in line]
    assert len(notes) == 1
    assert f"`rcframe_{hook}` of plugin `troubled` failed: TypeError: a mistake in {hook}" in notes[0]


def test_a_hook_that_hears_of_a_stop_and_raises_changes_nothing(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    sentence = bench.stopped(bench.begin(run, TROUBLE="run_stopped:raise+step:nan"), run)
    assert "its loss is nan" in sentence
    assert "`rcframe_run_stopped` of plugin `troubled` failed" in (run / "log.txt").read_text()


def test_a_mended_plugin_is_refused_unless_the_user_wants_it(troubled: tuple[Bench, Path], tmp_path: Path) -> None:
    bench, source = troubled
    run = tmp_path / "run"
    bench.stopped(bench.begin(run, TROUBLE="step:raise"), run)
    source.write_text(source.read_text().replace('if what == "raise":', 'if what == "mended":'))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "log.txt"}
    refused = bench.resume(run, TROUBLE="step:raise")
    assert (refused.code, refused.out) == (2, "")
    *_, sentence = refused.err.splitlines()
    assert "for `student/train`, these have changed: code of troubled (was " in sentence
    assert "--despite-changes" in sentence
    assert {path: path.read_bytes() for path in before} == before
    assert bench.resume(run, "--despite-changes", TROUBLE="step:raise").code == 0
    flags = json.loads((run / "report.json").read_text())["flags"]
    assert any("went on after changes of code of troubled" in flag for flag in flags)
    # This change moved no number.
    for name in ("teacher.safetensors", "student.safetensors"):
        assert (run / name).read_bytes() == (bench.whole / name).read_bytes()

"""What TensorBoard's own reader finds in the folder of a run."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata

import rcframe
from rcframe.registry import registry
from rcframe.session.config import make_config
from rcframe.session.session import Session, prepare_session

ASKED = {
    "data": "glyphs:size=8,classes=3,train=24,test=12",
    "model": "mlp:hidden=4",
    "teacher": "plain:epochs=1",
    "student": "kd:epochs=1",
    "attack": "pgd:steps=2",
    "certifier": "convex",
}


def session() -> Session:
    return prepare_session(make_config({**ASKED, "device": "cpu"}), "a test")


@functools.cache
def report() -> rcframe.Report:
    return rcframe.run(**ASKED, device="cpu")  # type: ignore[arg-type]  # each is a name


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in read(folder).Scalars(tag)]


def figure(folder: Path, tag: str) -> float:
    ((step, value),) = curve(folder, tag)
    assert step == 0
    return value


def tags(folder: Path) -> set[str]:
    return set(read(folder).Tags()["scalars"])


def test_epochs_are_curves_that_can_be_read_while_the_run_goes(tmp_path: Path) -> None:
    one = session()
    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher", 1, {"loss": 0.5, "accuracy": 0.25})
    registry().epoch_done(one, "teacher", 2, {"loss": 0.25, "accuracy": 0.5})
    registry().epoch_done(one, "student", 1, {"loss": 2.0})
    assert tags(tmp_path) == {"teacher/loss", "teacher/accuracy", "student/loss"}
    assert curve(tmp_path, "teacher/loss") == [(1, 0.5), (2, 0.25)]
    assert curve(tmp_path, "teacher/accuracy") == [(1, 0.25), (2, 0.5)]
    assert curve(tmp_path, "student/loss") == [(1, 2.0)]


def test_the_report_is_figures_beside_the_settings_that_led_to_them(tmp_path: Path) -> None:
    one = session()
    registry().run_started(one, tmp_path)
    registry().run_finished(one, report())
    for role, model in (("teacher", report().teacher), ("student", report().student)):
        expected = {
            "clean": model.clean.accuracy,
            "attacked/pgd:steps=2": model.attacked["pgd:steps=2"].accuracy,
            "certified/convex": model.certified["convex"].accuracy,
            "parameters": model.size.parameters,
        }
        for name, value in expected.items():
            assert figure(tmp_path, f"final/{role}/{name}") == pytest.approx(value), name
    started = read(tmp_path).PluginTagToContent("hparams")["_hparams_/session_start_info"]
    settings = metadata.parse_session_start_info_plugin_data(started).hparams
    assert settings["students"].string_value == "kd:epochs=1"
    assert settings["attacks"].string_value == "pgd:steps=2"
    compared = metadata.parse_experiment_plugin_data(
        read(tmp_path).PluginTagToContent("hparams")["_hparams_/experiment"]
    )
    assert {info.name.tag for info in compared.metric_infos} >= {"final/teacher/clean", "final/student/clean"}


def test_a_run_that_stops_says_why(tmp_path: Path) -> None:
    one = session()
    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher", 1, {"loss": 0.5})
    registry().run_stopped(one, "The disk is full.")
    (text,) = read(tmp_path).Tensors("stopped/text_summary")
    assert text.tensor_proto.string_val == [b"The disk is full."]
    assert curve(tmp_path, "teacher/loss") == [(1, 0.5)]


def test_a_run_that_goes_on_continues_its_curves(tmp_path: Path) -> None:
    for epochs in ([1, 2], [2, 3]):
        one = session()
        registry().run_started(one, tmp_path)
        for epoch in epochs:
            registry().epoch_done(one, "teacher", epoch, {"loss": 1 / 2**epoch})
    registry().run_finished(one, report())
    assert curve(tmp_path, "teacher/loss") == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert figure(tmp_path, "final/student/clean") == pytest.approx(report().student.clean.accuracy)


@pytest.mark.parametrize("left", [0.3, 0.6, 0.9, 0.99])
def test_a_run_that_was_killed_while_it_wrote_goes_on(left: float, tmp_path: Path) -> None:
    one = session()
    registry().run_started(one, tmp_path)
    for epoch in (1, 2, 3):
        registry().epoch_done(one, "teacher", epoch, {"loss": 1 / 2**epoch})
    (file,) = (tmp_path / "tensorboard").iterdir()
    os.truncate(file, int(file.stat().st_size * left))
    registry().run_started(one, tmp_path)
    for epoch in (1, 2, 3, 4):
        registry().epoch_done(one, "teacher", epoch, {"loss": 1 / 2**epoch})
    registry().run_stopped(one, "enough")
    assert curve(tmp_path, "teacher/loss") == [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.0625)]


def test_runs_after_and_beside_each_other_do_not_mix(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    first, second = session(), session()
    registry().run_started(first, folders[0])
    registry().run_started(second, folders[1])
    registry().epoch_done(second, "teacher", 1, {"loss": 2.0})
    registry().epoch_done(first, "teacher", 1, {"loss": 1.0})
    registry().run_finished(first, report())
    registry().run_started(first, folders[2])
    registry().epoch_done(first, "teacher", 1, {"loss": 3.0})
    registry().run_stopped(second, "enough")
    registry().run_stopped(first, "enough")
    assert [curve(folder, "teacher/loss") for folder in folders] == [[(1, 1.0)], [(1, 2.0)], [(1, 3.0)]]
    assert "final/student/clean" in tags(folders[0])
    assert "final/student/clean" not in tags(folders[1]) | tags(folders[2])


def test_a_run_without_a_folder_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    one = session()
    registry().run_started(one)
    registry().epoch_done(one, "teacher", 1, {"loss": 0.5})
    registry().run_finished(one, report())
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_folder_is_gone_goes_on(tmp_path: Path) -> None:
    one = session()
    (tmp_path / "tensorboard").write_text("in the way")
    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher", 1, {"loss": 0.5})
    registry().run_finished(one, report())
    assert (tmp_path / "tensorboard").read_text() == "in the way"


def test_tensorboard_is_imported_by_a_run_with_a_folder_only() -> None:
    code = (
        "import sys; from rcframe.registry import registry; registry().run_started(registry());"
        "assert any(plugin.distribution == 'rcframe-tensorboard' for plugin in registry().plugins);"
        "sys.exit('tensorboard' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

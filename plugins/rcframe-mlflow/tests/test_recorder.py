"""What MLflow's own client finds after a run."""

from __future__ import annotations

import functools
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from hypothesis import given, strategies as st
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import path_not_unique, validate_param_and_metric_name
from rcframe_mlflow import recorder
from rcframe_mlflow.recorder import key_for

import rcframe
from rcframe.registry import registry
from rcframe.session.config import make_config
from rcframe.session.session import Session, prepare_session

ASKED = {
    "data": "glyphs:size=8,classes=3,train=24,test=12",
    "model": "mlp:hidden=4",
    "teacher": "plain:epochs=1",
    "student": "kd:epochs=1",
    "attack": "pgd:steps=2,restarts=1",
    "certifier": "convex",
}


def session(**more: object) -> Session:
    return prepare_session(make_config({**ASKED, "device": "cpu", **more}), "a test")


@functools.cache
def report() -> rcframe.Report:
    uri = os.environ.pop("MLFLOW_TRACKING_URI", None)
    try:
        return rcframe.run(**ASKED, device="cpu")  # type: ignore[arg-type]  # each is a name
    finally:
        if uri:
            os.environ["MLFLOW_TRACKING_URI"] = uri


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the database that the tests share, since creating one takes a second."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture(autouse=True)
def experiment(place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Record into an experiment of this test's own."""
    name = uuid.uuid4().hex
    monkeypatch.chdir(place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", name)
    return name


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What rcframe logs."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]  # the shortest way
    logging.getLogger("rcframe").addHandler(handler)
    yield lines
    logging.getLogger("rcframe").removeHandler(handler)


def client() -> MlflowClient:
    return MlflowClient("sqlite:///runs.db")


def recorded(experiment: str) -> list[Run]:
    """The MLflow runs of an experiment, oldest first."""
    found = client().get_experiment_by_name(experiment)
    if found is None:
        return []
    return list(client().search_runs([found.experiment_id], order_by=["attributes.start_time ASC"]))


def curve(run: Run, key: str) -> list[tuple[int, float]]:
    return sorted((point.step, point.value) for point in client().get_metric_history(run.info.run_id, key))


def test_settings_and_epochs_can_be_read_while_the_run_goes(experiment: str, tmp_path: Path) -> None:
    one = session()
    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher/train", 1, {"loss": 0.5, "accuracy": 0.25})
    registry().epoch_done(one, "teacher/train", 2, {"loss": 0.25, "accuracy": 0.5})
    (run,) = recorded(experiment)
    assert (run.info.status, run.info.run_name) == ("RUNNING", f"{tmp_path.parent.name}/{tmp_path.name}")
    assert run.data.params["students"] == "kd:epochs=1"
    assert run.data.params["attacks"] == "pgd:steps=2,restarts=1"
    assert run.data.tags["rcframe.command"] == "a test"
    assert curve(run, "teacher/train/loss") == [(1, 0.5), (2, 0.25)]
    assert curve(run, "teacher/train/accuracy") == [(1, 0.25), (2, 0.5)]
    registry().run_stopped(one, "enough")


def test_the_report_is_figures_and_the_files_of_the_run_are_artifacts(experiment: str, tmp_path: Path) -> None:
    one = session()
    for name in ("report.json", "run.toml", "log.txt"):
        (tmp_path / name).write_text(f"{name} of the run")
    registry().run_started(one, tmp_path)
    registry().run_finished(one, report())
    (run,) = recorded(experiment)
    assert run.info.status == "FINISHED"
    for role, model in (("teacher", report().teacher), ("student", report().student)):
        assert run.data.metrics[f"final/{role}/clean"] == model.clean.accuracy
        attacked = model.attacked["pgd:steps=2,restarts=1"].accuracy
        assert run.data.metrics[f"final/{role}/attacked/pgd steps 2 restarts 1"] == attacked
        assert run.data.metrics[f"final/{role}/certified/convex"] == model.certified["convex"].accuracy
        assert run.data.metrics[f"final/{role}/parameters"] == model.size.parameters
    kept = {item.path for item in client().list_artifacts(run.info.run_id)}
    assert kept == {"report.json", "run.toml"}
    copied = client().download_artifacts(run.info.run_id, "report.json", str(tmp_path))
    assert Path(copied).read_text() == "report.json of the run"


def test_a_run_that_stops_says_why(experiment: str, tmp_path: Path) -> None:
    one = session()
    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher/train", 1, {"loss": 0.5})
    registry().run_stopped(one, "The disk is full. " * 1000)
    (run,) = recorded(experiment)
    assert run.info.status == "FAILED"
    assert run.data.tags["rcframe.stopped"].startswith("The disk is full. The disk")
    assert curve(run, "teacher/train/loss") == [(1, 0.5)]


def test_a_run_that_goes_on_is_one_run(experiment: str, tmp_path: Path) -> None:
    for epochs, threads in (([1, 2], 1), ([2, 3], 2)):
        one = session(threads=threads)
        registry().run_started(one, tmp_path)
        for epoch in epochs:
            registry().epoch_done(one, "teacher/train", epoch, {"loss": 1 / 2**epoch})
    (run,) = recorded(experiment)
    assert run.info.status == "RUNNING"
    registry().run_stopped(one, "interrupted")
    registry().run_started(one, tmp_path)
    assert recorded(experiment)[0].info.status == "RUNNING"
    registry().run_finished(one, report())
    (run,) = recorded(experiment)
    assert run.info.status == "FINISHED"
    assert curve(run, "teacher/train/loss") == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert run.data.params["threads"] == "1"
    assert run.data.metrics["teacher/train/loss"] == 0.125


@pytest.mark.parametrize("earlier", ["deleted", "of another store", "damaged"])
def test_a_run_whose_earlier_part_is_unknown_here_starts_anew(earlier: str, experiment: str, tmp_path: Path) -> None:
    registry().run_started(session(), tmp_path)
    (before,) = recorded(experiment)
    if earlier == "deleted":
        client().delete_run(before.info.run_id)
    else:
        text = uuid.uuid4().hex if earlier == "of another store" else "../../no such\nthing"
        (tmp_path / "mlflow-run.txt").write_text(text)
    one = session()
    registry().run_started(one, tmp_path)
    registry().run_finished(one, report())
    (after,) = [run for run in recorded(experiment) if run.info.status == "FINISHED"]
    assert after.info.run_id != before.info.run_id
    assert (tmp_path / "mlflow-run.txt").read_text().strip() == after.info.run_id


def test_runs_after_and_beside_each_other_do_not_mix(experiment: str, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    first, second = session(), session()
    registry().run_started(first, folders[0])
    registry().run_started(second, folders[1])
    registry().epoch_done(second, "teacher/train", 1, {"loss": 2.0})
    registry().epoch_done(first, "teacher/train", 1, {"loss": 1.0})
    registry().run_finished(first, report())
    registry().run_started(first, folders[2])
    registry().epoch_done(first, "teacher/train", 1, {"loss": 3.0})
    registry().run_stopped(second, "enough")
    registry().run_stopped(first, "enough")
    runs = {Path(str(run.info.run_name)).name: run for run in recorded(experiment)}
    assert [curve(runs[name], "teacher/train/loss") for name in ("one", "two", "three")] == [
        [(1, 1.0)],
        [(1, 2.0)],
        [(1, 3.0)],
    ]
    assert [runs[name].info.status for name in ("one", "two", "three")] == ["FINISHED", "FAILED", "FAILED"]


def test_a_run_without_a_folder_is_recorded_without_artifacts(experiment: str) -> None:
    one = session()
    registry().run_started(one)
    registry().epoch_done(one, "teacher/train", 1, {"loss": 0.5})
    registry().run_finished(one, report())
    (run,) = recorded(experiment)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["final/student/clean"] == report().student.clean.accuracy
    assert client().list_artifacts(run.info.run_id) == []


@pytest.mark.parametrize("uri", [None, ""])
def test_without_a_store_nothing_is_recorded(
    uri: str | None, experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    if uri is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    one = session()
    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher/train", 1, {"loss": 0.5})
    registry().run_finished(one, report())
    assert list(tmp_path.rglob("ml*")) == []


@pytest.mark.parametrize("finished", [True, False])
def test_what_a_failing_store_misses_is_sent_later(
    finished: bool, experiment: str, tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, tries = session(), []
    log_batch = MlflowClient.log_batch

    def down(*arguments: object, **more: object) -> None:
        tries.append(arguments)
        raise MlflowException("no answer")

    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher/train", 1, {"loss": 0.5})
    monkeypatch.setattr(MlflowClient, "log_batch", down)
    registry().epoch_done(one, "teacher/train", 2, {"loss": 0.25})
    registry().epoch_done(one, "teacher/train", 3, {"loss": 0.125})
    assert len(tries) == 1, "a dead store is asked at every epoch"
    monkeypatch.setattr(MlflowClient, "log_batch", log_batch)
    (run,) = recorded(experiment)
    assert curve(run, "teacher/train/loss") == [(1, 0.5)]
    if finished:
        registry().run_finished(one, report())
    else:
        registry().run_stopped(one, "enough")
    assert curve(run, "teacher/train/loss") == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert said == ["`rcframe_epoch_done` of plugin `rcframe-mlflow` failed: MlflowException: no answer"]


def test_a_store_that_is_back_is_used_again_when_patience_is_over(
    experiment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = session()
    registry().run_started(one, tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(recorder, "PATIENCE", -1.0)
        patched.setattr(MlflowClient, "log_batch", lambda *arguments, **more: 1 / 0)
        registry().epoch_done(one, "teacher/train", 1, {"loss": 0.5})
    registry().epoch_done(one, "teacher/train", 2, {"loss": 0.25})
    (run,) = recorded(experiment)
    assert curve(run, "teacher/train/loss") == [(1, 0.5), (2, 0.25)]
    registry().run_stopped(one, "enough")


def test_more_metrics_than_mlflow_takes_at_once_are_recorded(experiment: str, tmp_path: Path) -> None:
    one = session()
    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher/train", 1, {f"loss-{number}": float(number) for number in range(2100)})
    registry().run_stopped(one, "enough")
    (run,) = recorded(experiment)
    assert run.data.metrics == {f"teacher/train/loss-{number}": float(number) for number in range(2100)}


def test_a_very_long_command_is_recorded(experiment: str, tmp_path: Path) -> None:
    one = attrs.evolve(session(), command="rcframe run " + "--attack pgd " * 2000)
    registry().run_started(one, tmp_path)
    registry().run_stopped(one, "enough")
    (run,) = recorded(experiment)
    assert run.data.tags["rcframe.command"].startswith("rcframe run --attack pgd --attack")
    assert run.data.params["students"] == "kd:epochs=1"


def test_a_server_that_is_not_there_does_not_stop_a_run(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    one = session()
    registry().run_started(one, tmp_path)
    registry().epoch_done(one, "teacher/train", 1, {"loss": 0.5})
    registry().run_finished(one, report())
    (line,) = said
    assert line.startswith("`rcframe_run_started` of plugin `rcframe-mlflow` failed: MlflowException: ")


def test_what_the_user_says_about_mlflow_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "99")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    one = session()
    registry().run_started(one, tmp_path)
    registry().run_stopped(one, "enough")
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "99"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "1"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("teacher/train/loss", "teacher/train/loss"),
        ("student/attacked/pgd:steps=50,restarts=2", "student/attacked/pgd steps 50 restarts 2"),
        ("student/attacked/pgd:eps=8/255", "student/attacked/pgd eps 8/255"),
        ("/../a//./b/", "a/b"),
        ("==", "unnamed"),
    ],
)
def test_names_stay_readable_in_mlflow(name: str, key: str) -> None:
    assert key_for(name) == key


@given(st.text())
def test_mlflow_takes_every_name(name: str) -> None:
    key = key_for(name)
    assert validate_param_and_metric_name(key)  # type: ignore[no-untyped-call]
    assert not path_not_unique(key)  # type: ignore[no-untyped-call]
    assert len(key) <= 250

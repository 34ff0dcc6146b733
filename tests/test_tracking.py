from __future__ import annotations

import copy
import subprocess
import sys
import weakref
from collections.abc import Mapping

import attrs
import pytest

import rcframe
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.networks.size import Size
from rcframe.session.config import make_config
from rcframe.session.report import Measurement, ModelReport, Report
from rcframe.session.session import Session, prepare_session
from rcframe.tracking import Recorder, Recorders, figures_of, settings_of


class Notes(Recorder):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def epoch_done(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        self.heard.append((stage, epoch, dict(metrics)))

    def finished(self, report: Report) -> None:
        self.heard.append(report)

    def stopped(self, reason: str) -> None:
        self.heard.append(reason)


def session(**settings: object) -> Session:
    small = {"data": "glyphs:size=8,classes=3,train=24,test=12", "model": "mlp:hidden=4", "device": "cpu"}
    return prepare_session(make_config({**small, **settings}), "a test")


@pytest.fixture
def one() -> Session:
    return session()


def measured(right: int, n: int) -> Measurement:
    return Measurement(Accuracy(right, n))


@pytest.fixture
def report() -> Report:
    def model(right: int, **robust: Mapping[str, Measurement]) -> ModelReport:
        return ModelReport(
            component="plain",
            model="mlp",
            neuron=None,
            clean=measured(right, 4),
            attacked=robust.get("attacked", {}),
            certified=robust.get("certified", {}),
            size=Size(parameters=10 * right, nonzero=right, bytes=40 * right),
        )

    return Report(
        command="a test",
        data="digits",
        access="logit",
        teacher=model(4),
        student=model(3, attacked={"pgd:steps=5": measured(2, 4)}, certified={"convex": measured(1, 4)}),
        queries=Queries(images=70),
        seed=0,
        seconds=2.5,
        device="cpu",
        versions={},
        flags=(),
    )


def test_a_run_is_recorded_by_its_recorder_until_its_end(one: Session, report: Report) -> None:
    runs, notes = Recorders(), Notes()
    runs.start(one, notes)
    runs.epoch_done(one, "teacher", 1, {"loss": 0.5})
    runs.finished(one, report)
    runs.epoch_done(one, "teacher", 2, {"loss": 0.5})
    runs.finished(one, report)
    runs.stopped(one, "too late")
    assert notes.heard == [("teacher", 1, {"loss": 0.5}), report]


def test_a_run_that_stops_is_over(one: Session, report: Report) -> None:
    runs, notes = Recorders(), Notes()
    runs.start(one, notes)
    runs.stopped(one, "The disk is full.")
    runs.finished(one, report)
    assert notes.heard == ["The disk is full."]


def test_runs_under_way_do_not_mix_even_when_their_sessions_are_copies(one: Session) -> None:
    runs, other = Recorders(), copy.copy(one)
    of_one, of_other = Notes(), Notes()
    runs.start(one, of_one)
    runs.start(other, of_other)
    runs.epoch_done(other, "student", 1, {})
    runs.stopped(one, "first")
    runs.stopped(other, "second")
    assert of_one.heard == ["first"]
    assert of_other.heard == [("student", 1, {}), "second"]


def test_a_run_without_a_recorder_is_ignored(one: Session, report: Report) -> None:
    runs, notes = Recorders(), Notes()
    runs.start(one, notes)
    stranger = copy.copy(one)
    runs.epoch_done(stranger, "student", 1, {})
    runs.finished(stranger, report)
    runs.stopped(stranger, "unknown")
    assert notes.heard == []


def test_a_run_that_goes_on_in_the_same_process_gets_a_recorder_of_its_own(one: Session) -> None:
    runs, before, after = Recorders(), Notes(), Notes()
    runs.start(one, before)
    runs.start(one, after)
    runs.stopped(one, "again")
    assert (before.heard, after.heard) == ([], ["again"])


def test_a_run_that_never_ended_neither_lives_on_nor_speaks_for_a_later_one(one: Session) -> None:
    for _ in range(100):
        runs, notes = Recorders(), Notes()
        lost = copy.copy(one)
        runs.start(lost, notes)
        place, alive = id(lost), weakref.ref(lost)
        del lost
        assert alive() is None
        later = copy.copy(one)
        if id(later) == place:
            break
    assert id(later) == place, "no session was ever put where a lost one had been"
    runs.epoch_done(later, "student", 1, {})
    runs.stopped(later, "not mine")
    assert notes.heard == []


def test_settings_are_what_was_asked_as_text() -> None:
    asked = session(student=["plain:epochs=2", "kd"], attack="pgd:steps=5,restarts=2", eps="8/255", seed=3)
    settings = settings_of(asked)
    assert settings["data"] == "glyphs:size=8,classes=3,train=24,test=12"
    assert settings["students"] == "plain:epochs=2, kd"
    assert settings["attacks"] == "pgd:steps=5,restarts=2"
    assert (settings["eps"], settings["seed"], settings["teacher"]) == ("8/255", "3", "plain")
    assert not {"pruners", "neuron", "budget"} & set(settings)
    assert settings["eval_size"] == "0"


def test_settings_cover_whatever_a_configuration_has() -> None:
    settings = settings_of(session(student_model="mlp:hidden=3", neuron="lif:steps=2", budget=99, norm="l2"))
    assert settings["student_model"] == "mlp:hidden=3"
    assert (settings["neuron"], settings["budget"], settings["norm"]) == ("lif:steps=2", "99", "l2")


def test_figures_are_accuracies_as_fractions_and_sizes(report: Report) -> None:
    assert figures_of(report) == {
        "seconds": 2.5,
        "queries": 70.0,
        "teacher/clean": 1.0,
        "teacher/parameters": 40.0,
        "teacher/nonzero": 4.0,
        "teacher/bytes": 160.0,
        "student/clean": 0.75,
        "student/attacked/pgd:steps=5": 0.5,
        "student/certified/convex": 0.25,
        "student/parameters": 30.0,
        "student/nonzero": 3.0,
        "student/bytes": 120.0,
    }


def test_a_plugin_can_be_loaded_without_torch() -> None:
    names = "Recorder, Recorders, figures_of, settings_of"
    code = f"from rcframe import {names}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert rcframe.Recorders is Recorders


def test_the_worst_case_is_a_figure_too(report: Report) -> None:
    student = attrs.evolve(report.student, worst_case=Measurement(Accuracy(1, 4)))
    assert figures_of(attrs.evolve(report, student=student))["student/worst_case"] == 0.25

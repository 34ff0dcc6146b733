"""For plugins that record runs elsewhere: a recorder per run, and what a run has to say as names with values."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from rcframe.session.report import ModelReport, Report
    from rcframe.session.session import Session


class Recorder(ABC):
    """Writes one run into a tracker."""

    @abstractmethod
    def epoch_done(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Record the metrics of an epoch, counted from 1; a resumed run may bring some again."""

    @abstractmethod
    def finished(self, report: Report) -> None:
        """Record what the run found, and close."""

    @abstractmethod
    def stopped(self, reason: str) -> None:
        """Record that the run ended without a report, and close."""


@attrs.frozen
class _Recording:
    session: weakref.ref[Session]
    recorder: Recorder


class Recorders:
    """The recorders of the runs under way; what is said about a run that has none is ignored."""

    def __init__(self) -> None:
        # By identity: sessions are values, and two equal ones may run one after the other.
        self._recordings: dict[int, _Recording] = {}

    def start(self, session: Session, recorder: Recorder) -> None:
        """Let `recorder` hear of this run from now on."""
        self._recordings[id(session)] = _Recording(weakref.ref(session), recorder)

    def epoch_done(self, session: Session, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Pass on to the recorder of this run."""
        recording = self._recordings.get(id(session))
        if recording and recording.session() is session:
            recording.recorder.epoch_done(stage, epoch, metrics)

    def finished(self, session: Session, report: Report) -> None:
        """Pass on to the recorder of this run, which has nothing more to do."""
        if recorder := self._end(session):
            recorder.finished(report)

    def stopped(self, session: Session, reason: str) -> None:
        """Pass on to the recorder of this run, which has nothing more to do."""
        if recorder := self._end(session):
            recorder.stopped(reason)

    def _end(self, session: Session) -> Recorder | None:
        recording = self._recordings.pop(id(session), None)
        return recording.recorder if recording and recording.session() is session else None


def settings_of(session: Session) -> dict[str, str]:
    """Return what a run was asked to do: spec strings and plain settings by name, those that are not set left out."""
    config = session.config
    written = ((field.name, _text(getattr(config, field.name))) for field in attrs.fields(type(config)))
    return {name: text for name, text in written if text}


def figures_of(report: Report) -> dict[str, float]:
    """Return what a run found: accuracies and sizes, such as `student/attacked/SPEC`, as plain numbers."""
    figures = {"seconds": report.seconds, "queries": float(report.queries.images)}
    for role, model in (("teacher", report.teacher), ("student", report.student)):
        figures |= {f"{role}/{name}": value for name, value in _figures(model)}
    return figures


def _figures(model: ModelReport) -> Iterator[tuple[str, float]]:
    yield "clean", model.clean.accuracy
    for spec, measured in model.attacked.items():
        yield f"attacked/{spec}", measured.accuracy
    if model.worst_case:
        yield "worst_case", model.worst_case.accuracy
    for spec, measured in model.certified.items():
        yield f"certified/{spec}", measured.accuracy
    if model.released:
        yield "released", model.released.accuracy
    if model.outputs.likeness:
        yield "agreement", model.outputs.likeness.agreement.value
    if model.outputs.calibration:
        yield "calibration_error", model.outputs.calibration.error.value
    yield "parameters", float(model.size.parameters)
    yield "nonzero", float(model.size.nonzero)
    yield "bytes", float(model.size.bytes)


def _text(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)

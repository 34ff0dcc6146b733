"""The outcome of a run repeated with several seeds: every figure with its mean, spread and interval."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from rcframe.session.outcomes import AGREEMENT, CALIBRATION_ERROR, RELEASED, WORST_CASE
from rcframe.session.report import FORMAT, Measurement, ModelReport, Report

if TYPE_CHECKING:
    from rich.console import Group


@attrs.frozen
class Spread:
    """How a figure varies over seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean."""
        return statistics.fmean(self.values)

    @property
    def deviation(self) -> float:
        """The standard deviation of a single run, estimated from these."""
        return statistics.stdev(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the mean by Student's t: seeds are few."""
        from scipy.stats import t

        count = len(self.values)
        half = float(t.ppf(0.975, count - 1)) * self.deviation / math.sqrt(count)
        return self.mean - half, self.mean + half

    def as_json(self) -> dict[str, object]:
        """Return the JSON object of this figure."""
        low, high = self.interval
        return {"mean": self.mean, "std": self.deviation, "low": low, "high": high, "values": list(self.values)}


@attrs.frozen
class SeedsReport:
    """The reports of runs that differ in nothing but the seed."""

    command: str
    runs: tuple[Report, ...]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds, in their order."""
        return tuple(report.seed for report in self.runs)

    def teacher(self) -> dict[str, Spread]:
        """Return the teacher's figures by what was measured: `clean`, and the attacks and certifiers as typed."""
        return _spreads([report.teacher for report in self.runs])

    def student(self) -> dict[str, Spread]:
        """Return the student's figures by what was measured."""
        return _spreads([report.student for report in self.runs])

    def as_json(self) -> dict[str, object]:
        """Return the JSON object of this report."""
        return {
            "format": FORMAT,
            "command": self.command,
            "seeds": list(self.seeds),
            "teacher": {what: spread.as_json() for what, spread in self.teacher().items()},
            "student": {what: spread.as_json() for what, spread in self.student().items()},
            "runs": [report.as_json() for report in self.runs],
        }

    def to_json(self) -> str:
        """Return the text of `report.json`."""
        return json.dumps(self.as_json(), indent=2) + "\n"

    def __rich__(self) -> Group:
        from rcframe.session.tables import seeds_tables

        return seeds_tables(self)


def _spreads(models: Sequence[ModelReport]) -> dict[str, Spread]:
    figures = [dict(_figures(model)) for model in models]
    return {what: Spread(tuple(each[what] for each in figures)) for what in figures[0]}


def _figures(model: ModelReport) -> Iterator[tuple[str, float]]:
    yield from ((what, measured.accuracy) for what, measured in _measured(model))
    if model.released:
        yield RELEASED, model.released.accuracy
    if model.outputs.likeness:
        yield AGREEMENT, model.outputs.likeness.agreement.value
    if model.outputs.calibration:
        yield CALIBRATION_ERROR, model.outputs.calibration.error.value


def _measured(model: ModelReport) -> Iterator[tuple[str, Measurement]]:
    yield "clean", model.clean
    yield from model.attacked.items()
    if model.worst_case:
        yield WORST_CASE, model.worst_case
    for spec, measured in model.certified.items():
        yield f"certified by {spec}", measured


def is_seeds_report(found: Mapping[str, object]) -> bool:
    """Say whether the JSON of a report is one of several seeds."""
    return "runs" in found

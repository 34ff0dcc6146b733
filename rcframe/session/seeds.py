"""The outcome of a run repeated with several seeds: every figure with its mean, spread and interval."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.estimates import Estimate, estimate_accuracies, estimate_amounts
from rcframe.evaluation.evaluate import Accuracy
from rcframe.session.outcomes import AGREEMENT, CALIBRATION_ERROR, RELEASED, WORST_CASE
from rcframe.session.report import FORMAT, ModelReport, Report

if TYPE_CHECKING:
    from rich.console import Group


@attrs.frozen
class Spread:
    """How a figure varies over seeds."""

    values: tuple[float, ...]
    estimate: Estimate

    @classmethod
    def of_accuracies(cls, found: Sequence[Accuracy]) -> Spread:
        """Gather an accuracy, or another fraction of images, of each seed."""
        return cls(tuple(one.value for one in found), estimate_accuracies(found))

    @classmethod
    def of_amounts(cls, found: Sequence[Amount]) -> Spread:
        """Gather a figure of each seed that is measured on images and is no fraction of them."""
        return cls(tuple(one.value for one in found), estimate_amounts(found))

    @property
    def mean(self) -> float:
        """The mean."""
        return self.estimate.mean

    @property
    def deviation(self) -> float:
        """The standard deviation of a single run, estimated from these."""
        return statistics.stdev(self.values)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the mean: noise of the seeds and of the images, as in pages and comparisons."""
        return self.estimate.low, self.estimate.high

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
    fractions, amounts = [dict(_fractions(model)) for model in models], [dict(_amounts(model)) for model in models]
    return {what: Spread.of_accuracies([each[what] for each in fractions]) for what in fractions[0]} | {
        what: Spread.of_amounts([each[what] for each in amounts]) for what in amounts[0]
    }


def _fractions(model: ModelReport) -> Iterator[tuple[str, Accuracy]]:
    yield "clean", model.clean.result
    yield from ((what, measured.result) for what, measured in model.attacked.items())
    if model.worst_case:
        yield WORST_CASE, model.worst_case.result
    for spec, measured in model.certified.items():
        yield f"certified by {spec}", measured.result
    if model.released:
        yield RELEASED, model.released.result
    if model.outputs.likeness:
        yield AGREEMENT, model.outputs.likeness.agreement


def _amounts(model: ModelReport) -> Iterator[tuple[str, Amount]]:
    if model.outputs.calibration:
        yield CALIBRATION_ERROR, model.outputs.calibration.error


def is_seeds_report(found: Mapping[str, object]) -> bool:
    """Say whether the JSON of a report is one of several seeds."""
    return "runs" in found

"""The figures of runs: what was measured of whom, in one run and over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.errors import RequestError
from rcframe.findings.folders import FoundRun, Group
from rcframe.findings.statistics import (
    Difference,
    Estimate,
    compare_images,
    compare_proportions,
    compare_values,
    estimate,
)
from rcframe.session.evidence import About, Role
from rcframe.session.report import Measurement, ModelReport, Report

#: What is known of every network besides accuracies.
SIZES = ("parameters", "nonzero", "bytes")
ROLES: tuple[Role, Role] = ("teacher", "student")
#: Whether a figure is an accuracy, shown in percent, or a size.
Sort = Literal["accuracy", "size"]
#: Two runs that are compared.
Pair = tuple[FoundRun, FoundRun]
#: Which images are right, (runs, images).
Judged = NDArray[np.bool_]


@attrs.frozen
class Figure:
    """A figure of one run."""

    about: About
    value: float
    #: How it was measured, if it is an accuracy.
    measured: Measurement | None = None

    @property
    def sort(self) -> Sort:
        """What kind of number it is."""
        return "accuracy" if self.measured else "size"


def parse_about(text: str) -> About:
    """Read words such as `student clean`, `teacher ATTACK`, `student certified by CERTIFIER`, `student nonzero`."""
    role, _, what = text.strip().partition(" ")
    if role not in ROLES or not what.strip():
        raise RequestError(
            f"Cannot read the figure `{text}`: write `teacher` or `student`, then `clean`, an attack as it was typed, "
            f"`certified by` a certifier, or one of {', '.join(SIZES)}."
        )
    return About(role, what.strip())


def figures(report: Report) -> dict[About, Figure]:
    """Return every figure of a run, first those of the teacher."""
    models: tuple[tuple[Role, ModelReport], ...] = (("teacher", report.teacher), ("student", report.student))
    found = (figure for role, model in models for figure in _of_model(role, model))
    return {figure.about: figure for figure in found}


def _of_model(role: Role, model: ModelReport) -> Iterator[Figure]:
    yield _accuracy(About(role, "clean"), model.clean)
    for spec, measured in model.attacked.items():
        yield _accuracy(About(role, spec), measured)
    for spec, measured in model.certified.items():
        yield _accuracy(About(role, f"certified by {spec}"), measured)
    for size in SIZES:
        yield Figure(About(role, size), float(getattr(model.size, size)))


def _accuracy(about: About, measured: Measurement) -> Figure:
    return Figure(about, measured.accuracy, measured)


def figure_of(run: FoundRun, about: About) -> Figure | None:
    """Return one figure of a run; None if it was not measured."""
    return figures(run.report).get(about)


def estimate_of(group: Group, about: About) -> Estimate | None:
    """Return a figure over the seeds of a group; None if a run lacks it."""
    found = [figure_of(run, about) for run in group.runs]
    present = [figure for figure in found if figure is not None]
    if len(present) < len(found) or not present:
        return None
    images = min(figure.measured.n if figure.measured else 0 for figure in present)
    return estimate([figure.value for figure in present], images)


def paired(first: Group, second: Group) -> tuple[Pair, ...]:
    """Return the runs of the seeds that both groups have."""
    twins = {run.report.seed: run for run in second.runs}
    return tuple((run, twins[run.report.seed]) for run in first.runs if run.report.seed in twins)


def compare(
    first: Group, second: Group, about: About, about_second: About | None = None, *, by_image: bool = True
) -> Difference | None:
    """Return how much higher a figure of the first group is than that of the second, over the seeds that both have.

    Where both kept their judgements of the same images, these are compared one by one. None without a common seed.
    """
    return compare_pairs(paired(first, second), about, about_second, by_image=by_image)


def compare_pairs(
    pairs: Sequence[Pair], about: About, about_second: About | None = None, *, by_image: bool = True
) -> Difference | None:
    """Return how much higher a figure of the first run of each pair is than that of the second.

    None without pairs, or where a run lacks the figure.
    """
    other = about_second or about
    found = [(figure_of(run, about), figure_of(twin, other)) for run, twin in pairs]
    known = [(mine, theirs) for mine, theirs in found if mine and theirs]
    if not known or len(known) < len(found):
        return None
    if by_image and (judged := judgements(pairs, about, other)):
        return compare_images(*judged)
    accuracies = [
        (mine.measured.result, theirs.measured.result) for mine, theirs in known if mine.measured and theirs.measured
    ]
    if len(accuracies) == len(known):
        return compare_proportions([mine for mine, _ in accuracies], [theirs for _, theirs in accuracies])
    return compare_values([mine.value for mine, _ in known], [theirs.value for _, theirs in known])


def same_images(pairs: Sequence[Pair]) -> bool | None:
    """Say whether all runs measured the same images; None if one of them kept no evidence of that."""
    kept = [run.evidence for pair in pairs for run in pair]
    names = {evidence.images for evidence in kept if evidence}
    return None if None in kept else len(names) == 1


def judgements(pairs: Sequence[Pair], about: About, other: About) -> tuple[Judged, Judged] | None:
    """Return which images the runs have right, (pairs, images) each; None unless all are known of the same images."""
    if not pairs or not same_images(pairs):
        return None
    mine = [run.evidence.right.get(about) for run, _ in pairs if run.evidence]
    theirs = [twin.evidence.right.get(other) for _, twin in pairs if twin.evidence]
    right = [judged for judged in mine if judged is not None]
    others = [judged for judged in theirs if judged is not None]
    if len(right) < len(pairs) or len(others) < len(pairs) or len({len(judged) for judged in (*right, *others)}) > 1:
        return None
    return np.stack(right), np.stack(others)

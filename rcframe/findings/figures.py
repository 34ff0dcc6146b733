"""The figures of runs: what was measured of whom, in one run and over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.errors import RequestError
from rcframe.evaluation.evaluate import Accuracy
from rcframe.findings.folders import FoundRun, Group
from rcframe.findings.statistics import (
    Difference,
    Estimate,
    compare_images,
    compare_proportions,
    compare_values,
    estimate,
)
from rcframe.options import Number
from rcframe.session.evidence import About, Evidence, Role
from rcframe.session.outcomes import WORST_CASE
from rcframe.session.report import Measurement, ModelReport, Protocol, Report

#: What is known of every network besides accuracies.
SIZES = ("parameters", "nonzero", "bytes")
ROLES: tuple[Role, Role] = ("teacher", "student")
#: Whether a figure is an accuracy, shown in percent, or a size.
Sort = Literal["accuracy", "size"]
#: Two runs that are compared.
Pair = tuple[FoundRun, FoundRun]
#: Which images are right, (runs, images).
Judged = NDArray[np.bool_]
CERTIFIED = "certified by "
#: Stands between what was measured and a radius of its curve.
_AT = " at "


@attrs.frozen
class Figure:
    """A figure of one run."""

    about: About
    value: float
    #: How it was measured, if it is an accuracy.
    measured: Measurement | None = None
    #: By spec string, the attacks of which it is the worst case.
    attacks: Mapping[str, Protocol] = attrs.field(factory=dict)

    @property
    def sort(self) -> Sort:
        """What kind of number it is."""
        return "accuracy" if self.measured else "size"


def parse_about(text: str) -> About:
    """Read words such as `student clean`, `teacher ATTACK`, `student certified by CERTIFIER`, `student nonzero`.

    Behind what has a curve may stand one of its radii, as the run has it: `student ATTACK at 0.01`.
    """
    role, _, what = text.strip().partition(" ")
    if role not in ROLES or not what.strip():
        raise RequestError(
            f"Cannot read the figure `{text}`: write `teacher` or `student`, then `clean`, an attack as it was typed, "
            f"`{WORST_CASE}`, `{CERTIFIED.strip()}` a certifier, or one of {', '.join(SIZES)}. A point of a curve has "
            f"its eps behind it: `student {WORST_CASE}{_AT}0.01`."
        )
    return About(role, what.strip())


def figures(report: Report) -> dict[About, Figure]:
    """Return the figures of a run, first those of the teacher; of a curve the last point, which stands for it."""
    found = (figure for role in ROLES for figure in _of_model(role, model_of(report, role)))
    return {figure.about: figure for figure in found}


def model_of(report: Report, role: Role) -> ModelReport:
    """Return what is known of one of the two networks."""
    return report.teacher if role == "teacher" else report.student


def accuracies(model: ModelReport) -> Iterator[tuple[str, Measurement]]:
    """Yield every accuracy of a network with its name: clean, attacked, in the worst case, certified."""
    yield "clean", model.clean
    yield from model.attacked.items()
    if model.worst_case:
        yield WORST_CASE, model.worst_case
    yield from ((f"{CERTIFIED}{spec}", measured) for spec, measured in model.certified.items())


def _of_model(role: Role, model: ModelReport) -> Iterator[Figure]:
    for what, measured in accuracies(model):
        yield _accuracy(About(role, what), measured, model)
    for size in SIZES:
        yield Figure(About(role, size), float(getattr(model.size, size)))


def _accuracy(about: About, measured: Measurement, model: ModelReport) -> Figure:
    if about.what.partition(_AT)[0] != WORST_CASE:
        return Figure(about, measured.accuracy, measured)
    protocols = {spec: attacked.protocol for spec, attacked in model.attacked.items()}
    return Figure(
        about, measured.accuracy, measured, {spec: protocol for spec, protocol in protocols.items() if protocol}
    )


def at_radius(about: About, eps: Number) -> About:
    """Name a point of the curve of what was measured."""
    return About(about.role, f"{about.what}{_AT}{eps}")


def points(report: Report, about: About) -> tuple[Figure, ...]:
    """Return the points of the curve of what was measured, from the smallest radius on; none where there is none."""
    model = model_of(report, about.role)
    measured = dict(accuracies(model)).get(about.what)
    if measured is None:
        return ()
    return tuple(
        _accuracy(at_radius(about, point.eps), _alone(measured, point.eps, point.result), model)
        for point in measured.curve
    )


def _alone(measured: Measurement, eps: Number, result: Accuracy) -> Measurement:
    """Return a point of a curve as if nothing else had been measured; what was counted belongs to the whole."""
    return Measurement(result, attrs.evolve(measured.protocol, eps=eps) if measured.protocol else None)


def _split(about: About) -> tuple[About, str]:
    """Return what a point is of, and its radius; that is empty where it is no point."""
    what, _, eps = about.what.rpartition(_AT)
    return (About(about.role, what), eps) if what else (about, "")


def figure_of(run: FoundRun, about: About) -> Figure | None:
    """Return one figure of a run, headline or point of a curve; None if it was not measured."""
    found = figures(run.report).get(about)
    if found or not _split(about)[1]:
        return found
    return next((point for point in points(run.report, _split(about)[0]) if point.about == about), None)


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
    mine = [_right(run.evidence, about) for run, _ in pairs if run.evidence]
    theirs = [_right(twin.evidence, other) for _, twin in pairs if twin.evidence]
    right = [judged for judged in mine if judged is not None]
    others = [judged for judged in theirs if judged is not None]
    if len(right) < len(pairs) or len(others) < len(pairs) or len({len(judged) for judged in (*right, *others)}) > 1:
        return None
    return np.stack(right), np.stack(others)


def _right(evidence: Evidence, about: About) -> NDArray[np.bool_] | None:
    """Return which images (n,) are right; at a point of a curve, those that only a larger radius breaks."""
    whole, eps = _split(about)
    breaking = evidence.breaking.get(whole)
    if not eps or breaking is None:
        return evidence.right.get(about)
    # Radii are compared as the float32 that they were stored as.
    return np.asarray(breaking > np.float32(float(Number(eps))))

"""The figures of runs: what was measured of whom, in one run and over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.errors import RequestError
from rcframe.evaluation.amount import Amount
from rcframe.evaluation.estimates import Estimate, estimate, estimate_amounts
from rcframe.evaluation.evaluate import Accuracy
from rcframe.findings.folders import FoundRun, Group
from rcframe.findings.statistics import (
    Difference,
    compare_amounts,
    compare_counts,
    compare_images,
    compare_proportions,
    compare_values,
)
from rcframe.options import Number
from rcframe.session.evidence import About, Evidence, Role
from rcframe.session.outcomes import AGREEMENT, CALIBRATION_ERROR, RELEASED, WORST_CASE
from rcframe.session.report import Measurement, ModelReport, Protocol, Report

#: What is known of every network besides accuracies.
SIZES = ("parameters", "nonzero", "bytes")
ROLES: tuple[Role, Role] = ("teacher", "student")
#: How many classes of a softened output are above a tenth.
PEAKS = "peaks"
#: What is known of outputs: of a student the first, of a guarded teacher the second, of every network the others.
OF_OUTPUTS = (AGREEMENT, RELEASED, CALIBRATION_ERROR, PEAKS)
#: Whether a figure is a fraction of images, shown in percent, something else that is measured on images, or a size.
Sort = Literal["accuracy", "amount", "size"]
#: Two runs that are compared.
Pair = tuple[FoundRun, FoundRun]
#: Which images are right, (runs, images).
Judged = NDArray[np.bool_]
#: How much was counted of images, (runs, images).
Counted = NDArray[np.int16]
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
    #: How it was measured, if it is an amount.
    amount: Amount | None = None
    #: At which outputs were softened, if it depends on that.
    temperature: float | None = None

    @property
    def sort(self) -> Sort:
        """What kind of number it is."""
        return "accuracy" if self.measured else "amount" if self.amount else "size"


def unit_of(what: str) -> float:
    """Return what differences of a figure are counted in: points of percent, or 1 where it is no fraction."""
    return 1.0 if what in (*SIZES, PEAKS) else 0.01


def kind_of(what: str) -> str:
    """Say what kind of number a figure is; only those of one kind can be held against each other."""
    if what in SIZES:
        return "a size"
    return {CALIBRATION_ERROR: "a calibration error", PEAKS: "a number of peaks"}.get(what, "an accuracy")


def parse_about(text: str) -> About:
    """Read words such as `student clean`, `teacher ATTACK`, `student certified by CERTIFIER`, `student nonzero`.

    Behind what has a curve may stand one of its radii, as the run has it: `student ATTACK at 0.01`.
    """
    role, _, what = text.strip().partition(" ")
    if role not in ROLES or not what.strip():
        raise RequestError(
            f"Cannot read the figure `{text}`: write `teacher` or `student`, then `clean`, an attack as it was typed, "
            f"`{WORST_CASE}`, `{CERTIFIED.strip()}` a certifier, or one of {', '.join((*OF_OUTPUTS, *SIZES))}. A point "
            f"of a curve has its eps behind it: `student {WORST_CASE}{_AT}0.01`."
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
    yield from _of_outputs(role, model)
    for size in SIZES:
        yield Figure(About(role, size), float(getattr(model.size, size)))


def _of_outputs(role: Role, model: ModelReport) -> Iterator[Figure]:
    outputs = model.outputs
    if outputs.likeness:
        agreement = outputs.likeness.agreement
        yield Figure(About(role, AGREEMENT), agreement.value, Measurement(agreement))
    if model.released:
        yield Figure(About(role, RELEASED), model.released.accuracy, model.released)
    if outputs.calibration:
        error = outputs.calibration.error
        yield Figure(About(role, CALIBRATION_ERROR), error.value, amount=error)
    if outputs.softness:
        peaks, temperature = outputs.softness.peaks, outputs.softness.temperature
        yield Figure(About(role, PEAKS), peaks.value, amount=peaks, temperature=temperature)


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
    amounts = [figure.amount for figure in present if figure.amount]
    if len(amounts) == len(present):
        return estimate_amounts(amounts)
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

    None without pairs, where a run lacks the figure, or where outputs were softened at several temperatures.
    """
    other = about_second or about
    found = [(figure_of(run, about), figure_of(twin, other)) for run, twin in pairs]
    known = [(mine, theirs) for mine, theirs in found if mine and theirs]
    if not known or len(known) < len(found) or any(mine.temperature != theirs.temperature for mine, theirs in known):
        return None
    if by_image and (judged := judgements(pairs, about, other)):
        return compare_images(*judged)
    if by_image and (found_peaks := peaks(pairs, about, other)):
        return compare_counts(*found_peaks)
    amounts = [(mine.amount, theirs.amount) for mine, theirs in known if mine.amount and theirs.amount]
    if len(amounts) == len(known):
        return compare_amounts([mine for mine, _ in amounts], [theirs for _, theirs in amounts])
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


def peaks(pairs: Sequence[Pair], about: About, other: About) -> tuple[Counted, Counted] | None:
    """Return how many peaks the outputs for each image have, (pairs, images) each; None unless all are known."""
    if not pairs or about.what != PEAKS or other.what != PEAKS or not same_images(pairs):
        return None
    mine = [run.evidence.peaks.get(About(about.role, "clean")) for run, _ in pairs if run.evidence]
    theirs = [twin.evidence.peaks.get(About(other.role, "clean")) for _, twin in pairs if twin.evidence]
    counted = [found for found in mine if found is not None and (found >= 0).all()]
    others = [found for found in theirs if found is not None and (found >= 0).all()]
    if len(counted) < len(pairs) or len(others) < len(pairs) or len({len(found) for found in (*counted, *others)}) > 1:
        return None
    return np.stack(counted), np.stack(others)


def _right(evidence: Evidence, about: About) -> NDArray[np.bool_] | None:
    """Return which images (n,) are right; at a point of a curve, those that only a larger radius breaks."""
    whole, eps = _split(about)
    breaking = evidence.breaking.get(whole)
    if not eps or breaking is None:
        return evidence.right.get(about)
    # Radii are compared as the float32 that they were stored as.
    return np.asarray(breaking > np.float32(float(Number(eps))))

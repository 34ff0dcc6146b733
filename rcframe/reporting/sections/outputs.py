"""What the outputs of networks give away: how sure, how soft, how well calibrated, and how like the teacher's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import attrs

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.softness import Softness
from rcframe.findings.figures import ROLES, model_of
from rcframe.findings.folders import Collection, Group
from rcframe.findings.overview import amount, percent
from rcframe.findings.statistics import estimate, estimate_amounts
from rcframe.findings.tables import NOTHING, Table
from rcframe.reporting.chart import number, told_apart
from rcframe.reporting.naming import name_of
from rcframe.reporting.profiles import profiles
from rcframe.reporting.reliability import reliability
from rcframe.reporting.section import Exhibit, Section
from rcframe.session.evidence import Role
from rcframe.session.outputs_report import Outputs

_SAYS = (
    "Softened outputs are what a student learns from: entropy in nats, peaks are classes above a tenth, the margin is "
    "how much more the first class gets than the second. The calibration error says how far confidence, the "
    "probability of the class that is named, is from accuracy. On few images chance alone makes it more than 0; how "
    "much of it that would be stands beside it.",
)
_COLOURS = "In the matrices, each row is a class and each column what its images get on average; its own class is blue."
_INTERVALS = "Means over the seeds, with 95% intervals over seeds and images."
_MOST_DRAWN = 6


@attrs.frozen(eq=False)
class Network:
    """A network of some runs that differ in the seed only."""

    name: str
    role: Role
    group: Group
    #: What the outputs give away in each run.
    outputs: tuple[Outputs, ...]


def section(collection: Collection) -> Section | None:
    """Return the section on outputs."""
    found = networks(collection.groups)
    tables = [table for make in (_agreement, _softness, _calibration) if (table := make(found)).rows]
    if not tables:
        return None
    exhibits = tuple(_exhibits(found))
    says = [*_SAYS, *([_COLOURS] if any(one.heat for one in exhibits) else []), *_left_out(found)]
    return Section(
        name="outputs",
        title="What the outputs give away",
        says=tuple(says),
        tables=tuple(tables),
        exhibits=exhibits,
    )


def networks(groups: Sequence[Group]) -> list[Network]:
    """Return the teachers, then the students; a network that several groups share once."""
    found: dict[tuple[Role, tuple[Outputs, ...]], Network] = {}
    known = [group for group in groups if model_of(group.first.report, "student").outputs != Outputs()]
    for role in ROLES:
        for group in known:
            outputs = tuple(model_of(run.report, role).outputs for run in group.runs)
            found.setdefault((role, outputs), Network(name_of(group, known, role), role, group, outputs))
    names = told_apart([network.name for network in found.values()])
    return [attrs.evolve(network, name=name) for network, name in zip(found.values(), names, strict=True)]


# -- tables ---------------------------------------------------------------------------------------------------------


def _agreement(found: Sequence[Network]) -> Table:
    rows = []
    for network in found:
        known = [outputs.likeness for outputs in network.outputs if outputs.likeness]
        if len(known) == len(network.outputs):
            rows.append((network.name, *_agreement_cells(known)))
    columns = ("network", "images", "names the teacher's class (%)", "among the teacher's mistakes (%)", "KL (nats)")
    notes = (
        f"{_INTERVALS} KL is KL(teacher || student) at temperature 1. The teacher is the network itself, whatever it "
        "releases.",
    )
    return Table("Agreement with the teacher", columns, tuple(rows), notes)


def _agreement_cells(known: Sequence[Likeness]) -> Iterator[str]:
    yield f"{min(likeness.agreement.n for likeness in known):,}"
    yield _fraction([likeness.agreement for likeness in known])
    mistakes = [likeness.among_mistakes for likeness in known]
    count = sum(accuracy.n for accuracy in mistakes)
    pooled = Accuracy(sum(accuracy.correct for accuracy in mistakes), count)
    low, high = pooled.interval
    # Each seed's teacher makes its own mistakes, so they are counted together.
    yield f"{100 * pooled.value:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {count:,}" if count else NOTHING
    yield _mean([likeness.divergence for likeness in known])


def _softness(found: Sequence[Network]) -> Table:
    rows: list[tuple[str, ...]] = []
    for network in found:
        rows += _softness_row(network.name, [outputs.softness for outputs in network.outputs])
        rows += _softness_row(f"{network.name}, what it releases", [outputs.released for outputs in network.outputs])
    columns = ("network", "temperature", "entropy", "peaks", "margin")
    return Table("Softened outputs", columns, tuple(rows), (_INTERVALS,))


def _softness_row(name: str, softness: Sequence[Softness | None]) -> Iterator[tuple[str, ...]]:
    known = [one for one in softness if one]
    if len(known) == len(softness):
        yield (
            name,
            number(known[0].temperature),
            _mean([one.entropy for one in known]),
            _mean([one.peaks for one in known]),
            _mean([one.margin for one in known], most=1),
        )


def _calibration(found: Sequence[Network]) -> Table:
    rows = []
    for network in found:
        known = [outputs.calibration for outputs in network.outputs if outputs.calibration]
        if len(known) == len(network.outputs):
            rows.append((network.name, *_calibration_cells(known)))
    columns = ("network", "images", "calibration error (%)", "by chance alone (%)", "confidence (%)", "Brier score")
    notes = (f"{_INTERVALS} The Brier score is the squared distance of the probabilities from the label's, 0 to 2.",)
    return Table("Calibration", columns, tuple(rows), notes)


def _calibration_cells(known: Sequence[Calibration]) -> Iterator[str]:
    yield f"{min(one.error.n for one in known):,}"
    yield _mean([one.error for one in known], 0.01, most=1)
    yield f"{100 * sum(one.by_chance for one in known) / len(known):.2f}"
    yield _mean([one.confidence for one in known], 0.01, most=1)
    yield _mean([one.brier for one in known], most=2)


def _fraction(accuracies: Sequence[Accuracy]) -> str:
    return percent(estimate([one.value for one in accuracies], min(one.n for one in accuracies)))


def _mean(amounts: Sequence[Amount | None], unit: float = 1.0, most: float = math.inf) -> str:
    known = [one for one in amounts if one]
    return amount(estimate_amounts(known), unit, most) if len(known) == len(amounts) else NOTHING


# -- drawings -------------------------------------------------------------------------------------------------------


def _exhibits(found: Sequence[Network]) -> Iterator[Exhibit]:
    shown = list(enumerate(found[:_MOST_DRAWN], 1))
    drawn: set[tuple[tuple[str, ...], ...]] = set()
    for place, network in shown:
        for one in profiles(network.group.first, network.role, network.name, f"profile-{place}"):
            # A teacher that is guarded in one run and not in another is the same network.
            if one.data.rows not in drawn:
                drawn.add(one.data.rows)
                yield one
    for place, network in shown:
        calibration = network.outputs[0].calibration
        if calibration and all(calibration != other.outputs[0].calibration for _, other in shown[: place - 1]):
            yield reliability(calibration, network.name, f"reliability-{place}")


def _left_out(found: Sequence[Network]) -> Iterator[str]:
    if len(found) > _MOST_DRAWN:
        yield f"The first {_MOST_DRAWN} of {len(found)} networks are drawn."
    evidence = found[0].group.first.evidence
    if evidence and evidence.peaks and not evidence.profiles:
        yield f"Mean outputs class by class are left out: {len(evidence.classes)} classes are too many to look at."

"""The one table that says what some runs found: a row for each group, and one for each run that is not finished."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rcframe.evaluation.estimates import Estimate
from rcframe.findings.figures import CERTIFIED, OF_OUTPUTS, ROLES, SIZES, estimate_of, figures
from rcframe.findings.folders import Collection, Group, Unfinished
from rcframe.findings.tables import NOTHING, Table
from rcframe.session.evidence import About
from rcframe.session.outcomes import AGREEMENT, RELEASED, WORST_CASE

_OF_SEEDS = (
    "Accuracy in percent, the mean over the seeds, with its 95% interval: noise of the seeds (Student's t) and of the "
    "n images (Wilson), added as squares"
)
_OF_ONE_SEED = "Accuracy in percent with its 95% interval over the n images (Wilson); of other seeds it says nothing."


def overview(collection: Collection) -> Table:
    """Return what was measured of teacher and student, with intervals, counts and sizes."""
    accuracies, sizes = [*accuracies_of(collection.groups), *_besides(collection.groups)], _sizes()
    measured = (*(f"{about.role} {about.what}" for about in accuracies), "n", "seeds")
    weighed = tuple(f"{about.role} {about.what.replace('nonzero', 'non-zero')}" for about in sizes)
    told = ("warnings", "remarks") if collection.unfinished else ("warnings",)
    columns = ("run", *measured, *weighed, *told)
    names = {group.name for group in collection.groups}
    alone = [run for run in collection.unfinished if run.name not in names]
    rows = [
        (
            group.name,
            *(percent(estimate_of(group, about)) for about in accuracies),
            *_counts(group),
            *(_amount(estimate_of(group, about)) for about in sizes),
            str(len(flags_of(group))),
            _remarks([run for run in collection.unfinished if run.name == group.name]),
        )[: len(columns)]
        for group in collection.groups
    ]
    rows += [(run.name, *[NOTHING] * (len(columns) - 2), _remarks([run])) for run in alone]
    return Table("What the runs found", columns, tuple(rows), (_caption(collection.groups),) if rows else ())


def _caption(groups: Sequence[Group]) -> str:
    counts = [len(group.runs) for group in groups]
    if max(counts, default=1) == 1:
        return _OF_ONE_SEED
    return f"{_OF_SEEDS}; of one seed, that of the images alone." if 1 in counts else f"{_OF_SEEDS}."


def accuracies_of(groups: Sequence[Group]) -> list[About]:
    """Name every accuracy that some group has: clean, attacked, the worst case, certified; the teacher's first.

    Of a curve only its last point is named.
    """
    found = dict.fromkeys(
        about
        for group in groups
        for about, figure in figures(group.first.report).items()
        if figure.measured and about.what not in OF_OUTPUTS
    )
    whats = dict.fromkeys(about.what for about in found)
    ordered = sorted(whats, key=_place)
    return [About(role, what) for what in ordered for role in ROLES if About(role, what) in found]


def _besides(groups: Sequence[Group]) -> list[About]:
    """Name what is shown beside accuracies, where a group has it: what a guarded teacher releases, and agreement."""
    shown = (About("teacher", RELEASED), About("student", AGREEMENT))
    return [about for about in shown if any(about in figures(group.first.report) for group in groups)]


def _place(what: str) -> int:
    if what.startswith(CERTIFIED):
        return 3
    return {"clean": 0, WORST_CASE: 2}.get(what, 1)


def flags_of(group: Group) -> tuple[str, ...]:
    """Return the reasons to distrust figures of a group, each once."""
    return tuple(dict.fromkeys(flag for run in group.runs for flag in run.report.flags))


def percent(estimate: Estimate | None) -> str:
    """Write an accuracy such as `96.9 [95.1, 98.1]`; an interval ends where accuracies do."""
    if estimate is None:
        return NOTHING
    low, high = max(0.0, estimate.low), min(1.0, estimate.high)
    return f"{100 * estimate.mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def amount(estimate: Estimate | None, unit: float = 1.0, most: float = math.inf) -> str:
    """Write a figure that is no accuracy, such as `1.35 [1.28, 1.42]`; it lies between 0 and `most`."""
    if estimate is None:
        return NOTHING
    low, high = max(0.0, estimate.low), min(most, estimate.high)
    return f"{estimate.mean / unit:.2f} [{low / unit:.2f}, {high / unit:.2f}]"


def _sizes() -> list[About]:
    return [About(role, size) for size in SIZES for role in ROLES]


def _counts(group: Group) -> tuple[str, str]:
    return str(min(run.report.student.clean.n for run in group.runs)), str(len(group.runs))


def _amount(estimate: Estimate | None) -> str:
    if estimate is None:
        return NOTHING
    spread = f" [{estimate.low:,.0f}, {estimate.high:,.0f}]" if estimate.low < estimate.high else ""
    return f"{estimate.mean:,.0f}{spread}"


def _remarks(unfinished: Sequence[Unfinished]) -> str:
    return "; ".join(f"not finished: {run.reason}" for run in unfinished)

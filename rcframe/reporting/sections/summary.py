"""What was compared and what came out, in a sentence and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from rcframe.errors import listed
from rcframe.evaluation.estimates import Estimate
from rcframe.findings.figures import compare, estimate_of
from rcframe.findings.folders import Collection, Group
from rcframe.findings.overview import flags_of, overview, percent
from rcframe.reporting.section import Section
from rcframe.session.evidence import About
from rcframe.session.outcomes import AGREEMENT, WORST_CASE
from rcframe.session.outputs_report import about_agreement
from rcframe.session.report import ModelReport

_STUDENT = About("student", "clean")
_MOST_NAMED = 3
#: Some runs with what they found.
Ranked = tuple[Group, Estimate]


def section(collection: Collection) -> Section:
    """Return the summary."""
    return Section(
        name="summary",
        title="Summary",
        says=(" ".join(sentences(collection)),),
        tables=(attrs.evolve(overview(collection), title="Results"),),
    )


def sentences(collection: Collection) -> Iterator[str]:
    """Yield what a hurried reader should know."""
    groups = collection.groups
    if len(groups) == 1:
        yield _of_one(groups[0])
    else:
        yield _of_several(groups)
    yield from _claims(collection)
    yield _warnings(groups)
    if collection.unfinished:
        yield f"{_counted(len(collection.unfinished), 'run')} did not finish; the table says why."


def _of_one(group: Group) -> str:
    report = group.first.report
    student, teacher = estimate_of(group, _STUDENT), estimate_of(group, About("teacher", "clean"))
    robust = [f"; {_robust(group, what)}" for what in _hardest(report.student)]
    return (
        f"On {report.data}, a student trained by `{report.student.component}` with a teacher from "
        f"`{report.teacher.component}` gets {percent(student)}% of {report.student.clean.n:,} clean test images right "
        f"({_seeds(group)}), where the teacher gets {percent(teacher)}%{_agreement(group)}{''.join(robust)}."
    )


def _agreement(group: Group) -> str:
    found = estimate_of(group, About("student", AGREEMENT))
    if not found:
        return ""
    likenesses = [likeness for run in group.runs if (likeness := run.report.student.outputs.likeness)]
    idle = " (as often as one that always names one class)" if about_agreement(likenesses) else ""
    return f", and names the teacher's class for {percent(found)}%{idle}"


def _hardest(student: ModelReport) -> list[str]:
    """Name what stands for robustness, if anything was measured: the worst case, else the only attack."""
    return [WORST_CASE] if student.worst_case else list(student.attacked)[:1]


def _robust(group: Group, what: str) -> str:
    found, attacks = estimate_of(group, About("student", what)), group.first.report.student.attacked
    protocol = next(iter(attacks.values())).protocol
    eps = f" at eps {protocol.eps}" if protocol else ""
    under = f"the worst of {len(attacks)} attacks, image by image," if what == WORST_CASE else f"`{what}`"
    return f"under {under}{eps} the student keeps {percent(found)}%"


def _of_several(groups: Sequence[Group]) -> str:
    runs = sum(len(group.runs) for group in groups)
    axes = dict.fromkeys(axis for group in groups for axis in group.labels)
    differ = f" that differ in {listed(axis.replace('_', ' ') for axis in axes)}" if axes else ""
    data = listed(dict.fromkeys(group.first.report.data for group in groups))
    return (
        f"{_counted(len(groups), 'configuration')}{differ} were compared on {data}, in {_counted(runs, 'run')}. "
        f"{_extremes(_ranked(groups))}"
    )


def _extremes(ranked: Sequence[Ranked]) -> str:
    """Name the highest and the lowest clean accuracy, and whatever is not told apart from either."""
    (best, highest), (worst, lowest) = ranked[0], ranked[-1]
    tied = [group for group, found in ranked[1:] if not _told_apart((best, highest), (group, found))]
    opening = f"{_with_seeds([found.seeds for _, found in ranked])} clean accuracy of the student"
    if worst in tied:
        return (
            f"{opening} lies between {percent(lowest)}% (`{worst.name}`) and "
            f"{percent(highest)}% (`{best.name}`), which are not told apart by {_rest_on(highest)}."
        )
    low = [group for group, found in ranked[-2::-1] if not _told_apart((group, found), (worst, lowest))]
    return (
        f"{opening} is highest for `{best.name}`, {percent(highest)}%{_not_told_apart(tied, highest)}, and lowest for "
        f"`{worst.name}`, {percent(lowest)}%{_not_told_apart(low, lowest)}."
    )


def _not_told_apart(tied: Sequence[Group], from_what: Estimate) -> str:
    return f" (not told apart from {_some(tied)} by {_rest_on(from_what)})" if tied else ""


def _told_apart(first: Ranked, second: Ranked) -> bool:
    """Say whether two accuracies differ beyond noise; without a common seed, whether their intervals lie apart."""
    (group, found), (other, theirs) = first, second
    difference = compare(group, other, _STUDENT)
    return found.low > theirs.high if difference is None else difference.beyond_noise


def _rest_on(found: Estimate) -> str:
    seeds = f" and {found.seeds} seeds" if found.seeds > 1 else ""
    return f"{_counted(found.images, 'image')}{seeds}"


def _with_seeds(counts: Sequence[int]) -> str:
    """Begin a sentence; a single seed says nothing of others, so it is not left to be guessed."""
    if max(counts) == 1:
        return "With one seed each, the"
    return "With one seed for some of them, the" if 1 in counts else "The"


def _some(groups: Sequence[Group]) -> str:
    named = [f"`{group.name}`" for group in groups[:_MOST_NAMED]]
    more = f" and {len(groups) - len(named)} more" if len(groups) > len(named) else ""
    return f"{listed(named)}{more}"


def _ranked(groups: Sequence[Group]) -> list[Ranked]:
    known = [(group, found) for group in groups if (found := estimate_of(group, _STUDENT)) is not None]
    return sorted(known, key=lambda pair: -pair[1].mean)


def _claims(collection: Collection) -> Iterator[str]:
    for found in collection.reproductions:
        verdicts = [claim.verdict for claim in found.claims]
        told = [f"{verdicts.count(verdict)} {verdict}" for verdict in ("holds", "does not hold", "undecided")]
        present = [words for words in told if not words.startswith("0 ")]
        yield f"Of {_counted(len(verdicts), 'claim')} of {found.recipe} at {found.scale} scale: {listed(present)}."


def _warnings(groups: Sequence[Group]) -> str:
    worst = max(groups, key=lambda group: len(flags_of(group)))
    count, warned = len(flags_of(worst)), sum(bool(flags_of(group)) for group in groups)
    if not count:
        return "No figure carries a warning."
    if len(groups) == 1:
        return f"The figures carry {_counted(count, 'warning')}: see the end of this page."
    there = "see the end of this page."
    if warned == 1:
        return f"1 of {len(groups)} configurations carries {_counted(count, 'warning')} (`{worst.name}`): {there}"
    if count == 1:
        return f"{warned} of {len(groups)} configurations carry a warning each: {there}"
    return f"{warned} of {len(groups)} configurations carry warnings, at most {count} (`{worst.name}`): {there}"


def _seeds(group: Group) -> str:
    return f"seed {group.seeds[0]}" if len(group.seeds) == 1 else f"mean of {len(group.seeds)} seeds"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"

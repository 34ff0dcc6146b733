"""Two folders of runs held against each other: what was set otherwise, what came out otherwise, and beyond noise?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import attrs
import numpy as np

from rcframe.errors import RequestError, nearest
from rcframe.findings.changes import Change, changes
from rcframe.findings.figures import (
    Figure,
    Pair,
    Sort,
    compare_pairs,
    figure_of,
    figures,
    judgements,
    paired,
    peaks,
    unit_of,
)
from rcframe.findings.folders import Collection, FoundRun, Group, collect
from rcframe.findings.statistics import Difference
from rcframe.findings.twins import Twins, twins, unlike_protocols
from rcframe.session.evidence import About

#: What is said of a figure.
Verdict = Literal["equal", "beyond noise", "within noise", "differs", "not compared", "only in A", "only in B"]
_MOST_NAMES = 5


@attrs.frozen(kw_only=True)
class ComparedFigure:
    """A figure on both sides: means over the seeds that both have."""

    name: str
    sort: Sort
    #: What it and its differences are shown in: 0.01 for percent.
    unit: float = 0.01
    first: float | None
    second: float | None
    verdict: Verdict
    #: How much higher it is on the second side; None if it was not compared.
    difference: Difference | None = None
    #: Why it was not compared.
    reason: str = ""


@attrs.frozen(eq=False)
class ComparedRow:
    """Runs of one side, and those of the other that were compared with them."""

    first: Group
    second: Group
    #: Runs of equal seeds, or the two that there are; empty if several have no seed in common.
    pairs: tuple[Pair, ...]
    changes: tuple[Change, ...]
    figures: tuple[ComparedFigure, ...]

    @property
    def name(self) -> str:
        """What was compared with what."""
        alike = self.first.name == self.second.name
        return self.first.name if alike else f"{self.first.name} / {self.second.name}"


@attrs.frozen(eq=False)
class Comparison:
    """Two folders of runs: A and B."""

    paths: tuple[Path, Path]
    found: tuple[Collection, Collection]
    rows: tuple[ComparedRow, ...]
    #: The names of the two rows that were picked; None if all were compared.
    picked: tuple[str, str] | None = None

    @property
    def same_folder(self) -> bool:
        """Whether both are one folder, looked at whole."""
        return self.picked is None and _same(*self.paths)

    @property
    def figures(self) -> tuple[ComparedFigure, ...]:
        """The figures of all rows."""
        return tuple(figure for row in self.rows for figure in row.figures)

    @property
    def alone(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of what A has and B lacks, and the other way round."""
        mine, theirs = {row.first.name for row in self.rows}, {row.second.name for row in self.rows}
        return (
            tuple(group.name for group in self.found[0].groups if group.name not in mine),
            tuple(group.name for group in self.found[1].groups if group.name not in theirs),
        )


def compare_folders(first: Path, second: Path) -> Comparison:
    """Compare two folders, each with a run, a run of several seeds, or a matrix, of which equal names are compared."""
    found = (_collected(first), _collected(second))
    rows = tuple(_row(mine, theirs) for mine, theirs in _matched(found[0].groups, found[1].groups))
    if not rows:
        raise RequestError(
            f"No run of `{first}` ({_names(found[0].groups)}) has the name of one of `{second}` "
            f"({_names(found[1].groups)}). Name the folders of two runs, two matrices with equal rows, or a row of "
            f"each with --row."
        )
    return Comparison((first, second), found, rows)


def compare_rows(first: Path, second: Path, picked: tuple[str, str]) -> Comparison:
    """Compare a row of one folder with a row of another or, most of all, of the same, over the seeds both have."""
    if picked[0] == picked[1] and _same(first, second):
        raise RequestError(
            f"A row cannot be compared with itself: name two rows of `{first}`, not `{picked[0]}` twice."
        )
    sides = zip((first, second), picked, strict=True)
    mine, theirs = (_picked(_collected(folder), name, folder) for folder, name in sides)
    return Comparison((first, second), (mine, theirs), (_row(mine.groups[0], theirs.groups[0]),), picked)


def _same(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def _picked(collection: Collection, name: str, folder: Path) -> Collection:
    """Return what a folder has of one row."""
    groups = tuple(group for group in collection.groups if group.name == name)
    unfinished = tuple(run for run in collection.unfinished if run.name == name)
    if groups:
        return attrs.evolve(collection, groups=groups, unfinished=unfinished)
    if unfinished:
        raise RequestError(f"No run of the row `{name}` of `{folder}` is finished: {unfinished[0].reason}.")
    names = [group.name for group in collection.groups]
    raise RequestError(f"`{folder}` has no row `{name}`.{nearest(name, names)} Its rows: {quoted(names)}.")


def quoted(names: Iterable[str]) -> str:
    """Join names of rows for a sentence; they hold commas themselves."""
    return "; ".join(f"`{name}`" for name in names)


def _names(groups: Sequence[Group]) -> str:
    more = "; ..." if len(groups) > _MOST_NAMES else ""
    return quoted(group.name for group in groups[:_MOST_NAMES]) + more


def _collected(folder: Path) -> Collection:
    found = collect([folder])
    if found.groups:
        return found
    if not found.unfinished:
        raise RequestError(f"`{folder}` is a matrix without runs, so there is nothing to compare.")
    run, *others = found.unfinished
    if others:
        raise RequestError(
            f"None of the {len(found.unfinished)} runs in `{folder}` is finished (`{run.name}`: {run.reason}). Let "
            f"them finish, then compare."
        )
    raise RequestError(
        f"The run in `{run.path}` is not finished: {run.reason}. Once it is (rcframe run --resume {folder}), compare."
    )


def _matched(first: Sequence[Group], second: Sequence[Group]) -> list[tuple[Group, Group]]:
    """Return what belongs together: one and one whatever their names, else what has equal names."""
    if len(first) == len(second) == 1:
        return [(first[0], second[0])]
    theirs = {group.name: group for group in second}
    return [(group, theirs[group.name]) for group in first if group.name in theirs]


def _row(first: Group, second: Group) -> ComparedRow:
    pairs = paired(first, second)
    if not pairs and len(first.runs) == len(second.runs) == 1:
        pairs = ((first.first, second.first),)
    mine, theirs = pairs[0] if pairs else (first.first, second.first)
    compared = [_compared(both, first, second, pairs) for both in twins(figures(mine.report), figures(theirs.report))]
    # Sizes stand below what was measured.
    compared.sort(key=lambda figure: figure.sort)
    return ComparedRow(first, second, pairs, changes(mine, theirs), tuple(compared))


def _compared(both: Twins, first: Group, second: Group, pairs: Sequence[Pair]) -> ComparedFigure:
    mine, theirs = both
    shown = mine or theirs
    assert shown
    known = ComparedFigure(
        name=f"{shown.about.role} {shown.about.what}",
        sort=shown.sort,
        unit=unit_of(shown.about.what),
        first=_mean([run for run, _ in pairs] or first.runs, mine),
        second=_mean([run for _, run in pairs] or second.runs, theirs),
        verdict="not compared",
    )
    if mine is None or theirs is None:
        return attrs.evolve(known, verdict="only in A" if mine else "only in B")
    if not pairs:
        return attrs.evolve(known, reason="the two have no seed in common")
    if unlike := unlike_protocols(mine, theirs):
        return attrs.evolve(known, reason=unlike)
    # What is said is how much higher B is.
    turned = [(run, twin) for twin, run in pairs]
    difference = compare_pairs(turned, theirs.about, mine.about)
    if difference is None:
        return attrs.evolve(known, reason="some runs lack it")
    return attrs.evolve(known, difference=difference, verdict=_verdict(difference, turned, theirs, mine))


def _mean(runs: Sequence[FoundRun], figure: Figure | None) -> float | None:
    found = [figure_of(run, figure.about) for run in runs] if figure else []
    values = [each.value for each in found if each]
    return math.fsum(values) / len(values) if values and len(values) == len(found) else None


def _verdict(difference: Difference, pairs: Sequence[Pair], first: Figure, second: Figure) -> Verdict:
    if _equal(pairs, first.about, second.about):
        return "equal"
    if first.sort == "size":
        return "differs"
    return "beyond noise" if difference.beyond_noise else "within noise"


def _equal(pairs: Sequence[Pair], first: About, second: About) -> bool:
    """Say whether a figure is the same in both runs of each pair, image by image if that is known."""
    found = [(figure_of(run, first), figure_of(twin, second)) for run, twin in pairs]
    if any(mine and theirs and mine.value != theirs.value for mine, theirs in found):
        return False
    judged, counted = judgements(pairs, first, second), peaks(pairs, first, second)
    return all(found is None or np.array_equal(*found) for found in (judged, counted))

"""What a comparison says in words: its result in a sentence, and what a reader must know besides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from rcframe.errors import listed
from rcframe.evaluation.trust.flag import kind_of
from rcframe.findings.comparison import ComparedRow, Comparison, quoted
from rcframe.findings.figures import same_images
from rcframe.findings.folders import Group

#: So many intervals are likely enough to hold one that leaves out zero by chance alone.
_MANY = 10
_CHANCE = 0.05
Item = TypeVar("Item")


def summary(comparison: Comparison) -> str:
    """Say in a sentence what came out."""
    figures = comparison.figures
    if comparison.same_folder:
        return "A and B are the same folder."
    if all(figure.verdict == "equal" for figure in figures) and not any(comparison.alone):
        although = ", although settings differ" if any(row.changes for row in comparison.rows) else ""
        if all(same_images(row.pairs) for row in comparison.rows):
            return f"The results are exactly equal{although}."
        return f"All figures are equal{although}; whether the same images are right is not known."
    compared = [figure for figure in figures if figure.sort != "size" and figure.difference]
    if not compared:
        return "No accuracy could be compared."
    beyond = sum(figure.verdict == "beyond noise" for figure in compared)
    of_networks = " of these networks" if all(len(row.pairs) < 2 for row in comparison.rows) else ""
    what = "accuracies" if all(figure.sort == "accuracy" for figure in compared) else "figures"
    return f"{beyond or 'None'} of {len(compared)} {what}{of_networks} differ{'s' * (beyond < 2)} beyond noise."


def legend(comparison: Comparison) -> tuple[str, str]:
    """Say which folder is A, which is B, and what they hold."""
    rows = [f", row `{name}`" for name in comparison.picked] if comparison.picked else ["", ""]
    first, second = (
        f"{name}: {path}{row} ({_contents(found.groups)})"
        for name, path, row, found in zip("AB", comparison.paths, rows, comparison.found, strict=True)
    )
    return first, second


def _contents(groups: Sequence[Group]) -> str:
    seeds = sorted({seed for group in groups for seed in group.seeds})
    rows = f"{len(groups)} rows, " if len(groups) > 1 else ""
    return f"{rows}{_seeds(seeds)}"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {listed(map(str, seeds))}"


def notes(comparison: Comparison) -> tuple[str, ...]:
    """Say what the figures rest on, what was left out, and what speaks against them."""
    said = gathered((row.name, [*_about_row(row), *_warnings(row)]) for row in comparison.rows)
    of_rows = (text if names is None else f"{quoted(names)}: {text}" for text, names in said)
    return (*of_rows, *_left_out(comparison), *_chance(comparison))


def gathered(found: Iterable[tuple[str, Iterable[Item]]]) -> list[tuple[Item, list[str] | None]]:
    """Put equal items of several rows together, with the names of these rows; None if all rows have it."""
    names: dict[Item, list[str]] = {}
    rows = 0
    for name, items in found:
        rows += 1
        for item in dict.fromkeys(items):
            names.setdefault(item, []).append(name)
    return [(item, None if len(having) == rows else having) for item, having in names.items()]


def _about_row(row: ComparedRow) -> Iterator[str]:
    mine, theirs = row.first.seeds, row.second.seeds
    if not row.pairs:
        yield f"A has {_seeds(mine)}, B {_seeds(theirs)}: none in common. Run both with the same seeds to compare them."
        return
    yield _what_intervals_say(row)
    yield from _left_out_seeds("A", "B", mine, row)
    yield from _left_out_seeds("B", "A", theirs, row)
    yield _about_images(row)
    for figure in row.figures:
        if figure.reason:
            yield f"{figure.name} was not compared: {figure.reason}."
    asked = [run.report.queries.images for run in row.pairs[0]]
    if asked[0] != asked[1]:
        yield f"The student asked the teacher about {asked[0]:,} images in A and {asked[1]:,} in B."


def _what_intervals_say(row: ComparedRow) -> str:
    if len(row.pairs) > 1:
        shared = _seeds([run.report.seed for run, _ in row.pairs])
        return f"A and B are means over {shared}; the 95% intervals allow for other seeds and other images."
    seeds = [run.report.seed for run in row.pairs[0]]
    differ = f" (seed {seeds[0]} in A and {seeds[1]} in B)" if seeds[0] != seeds[1] else ""
    return (
        f"One network is held against one{differ}: the 95% intervals allow for other images only, and other seeds were "
        f"not tried. To compare the methods, run both with --seeds 5 or so."
    )


def _left_out_seeds(side: str, other: str, seeds: Sequence[int], row: ComparedRow) -> Iterator[str]:
    used = {run.report.seed for pair in row.pairs for run in pair}
    if left := [seed for seed in seeds if seed not in used]:
        yield f"Left out: {_seeds(left)} of {side}, which {other} lacks."


def _about_images(row: ComparedRow) -> str:
    counts = [run.report.student.clean.n for run in row.pairs[0]]
    match same_images(row.pairs):
        case True:
            return f"Both were measured on the same {counts[0]:,} images, which are compared one by one."
        case False:
            return (
                f"They were measured on different images ({counts[0]:,} in A, {counts[1]:,} in B), so the intervals "
                f"are wider than on the same."
            )
        case _:
            return (
                f"Not every run kept which of its images are right ({counts[0]:,} in A, {counts[1]:,} in B), so the "
                f"intervals are those of different images, which are wider."
            )


def _warnings(row: ComparedRow) -> Iterator[str]:
    sides = (("A", row.first), ("B", row.second))
    flags = gathered((name, (flag for run in group.runs for flag in run.report.flags)) for name, group in sides)
    return (f"Beware of {' and '.join(names or 'AB')}{_kind(flag)}: {flag}." for flag, names in flags)


def _kind(flag: str) -> str:
    return f" ({kind})" if (kind := kind_of(flag)) else ""


def _left_out(comparison: Comparison) -> Iterator[str]:
    for name, lonely, found in zip("AB", comparison.alone, comparison.found, strict=True):
        if lonely:
            yield f"Only in {name}: {quoted(lonely)}."
        for run in found.unfinished:
            yield f"Not finished in {name}: `{run.name}` ({run.reason})."


def _chance(comparison: Comparison) -> Iterator[str]:
    count = sum(figure.verdict in ("beyond noise", "within noise") for figure in comparison.figures)
    if count >= _MANY:
        yield f"Of {count} such intervals, about {max(1, round(_CHANCE * count))} would leave out zero by chance alone."

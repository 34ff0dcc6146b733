"""What a reproduction found, as tables: measured beside published, and claims with their verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rcframe.findings.figures import PEAKS, SIZES, estimate_of, parse_about, unit_of
from rcframe.findings.folders import Group
from rcframe.findings.overview import amount, percent
from rcframe.findings.records import ComparisonRecord, PublishedRecord, ReproductionRecord
from rcframe.findings.tables import NOTHING, Table

#: What a point of percent is of an accuracy.
POINT = 0.01


def beside(record: ReproductionRecord, groups: Sequence[Group]) -> Table:
    """Return what was measured beside what was published, a row for each configuration."""
    published = {(figure.row, figure.figure): figure for figure in record.published}
    rows = []
    for group in groups:
        row = group.first.row.name if group.first.row else group.name
        cells = [group.name]
        for figure in record.figures:
            cells += [_measured(group, figure), _published(published.get((row, figure)))]
        rows.append(tuple(cells))
    heads = [head for figure in record.figures for head in (figure, f"{figure}, published")]
    said = f"Published: {record.source}."
    if record.scale == "small":
        said += " Those figures are of the full scale; at the small one only directions can be compared."
    measured = "Accuracy in percent; measured: the mean over seeds, with its 95% interval over seeds and images."
    notes = (measured, said, *([record.note] if record.note else []))
    return Table(f"{record.recipe}: {record.title} ({record.scale} scale)", ("run", *heads), tuple(rows), notes)


def _measured(group: Group, figure: str) -> str:
    about = parse_about(figure)
    estimate = estimate_of(group, about)
    if about.what in SIZES:
        return NOTHING if estimate is None else f"{estimate.mean:,.0f}"
    if about.what == PEAKS:
        return amount(estimate)
    return percent(estimate)


def _published(figure: PublishedRecord | None) -> str:
    if figure is None:
        return NOTHING
    what = parse_about(figure.figure).what
    if what in SIZES:
        return f"{figure.value:,.0f}"
    unit = unit_of(what)
    spread = "" if figure.spread is None else f" ± {figure.spread / unit:.2f}"
    return f"{figure.value / unit:.2f}{spread}"


def claims_table(record: ReproductionRecord) -> Table:
    """Return the claims with their verdicts and the comparisons behind them."""
    rows = [
        (claim.says, claim.verdict, comparison.words, difference_of(comparison), comparison.verdict)
        for claim in record.claims
        for comparison in claim.comparisons
    ]
    columns = ("claim", "verdict", "comparison", "difference", "of this comparison")
    note = (
        "Differences with their 95% intervals over seeds and images, of accuracies in points of percent. A claim holds "
        "if each of its comparisons does, and does not if one does not; it is undecided where an interval allows both."
    )
    return Table(f"Claims of {record.recipe}", columns, tuple(rows), (note,))


def difference_of(comparison: ComparisonRecord) -> str:
    """Write the difference of a comparison in its unit, with its interval and what that rests on."""
    found = comparison.difference
    if found is None:
        return "not measured"
    images = f", {found.images:,} images" if found.images else ""
    seeds = "1 seed" if found.seeds == 1 else f"{found.seeds} seeds"
    form = "+.1f" if comparison.unit == POINT else "+,.0f" if float(found.mean).is_integer() else "+,.2f"
    mean, low, high = (format(number / comparison.unit, form) for number in attrs.astuple(found)[:3])
    return f"{mean} [{low}, {high}] ({seeds}{images})"

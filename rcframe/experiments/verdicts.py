"""Holding what was measured against what a paper claims."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rcframe.experiments.recipe import Claim, Pair, Recipe, Scale
from rcframe.findings.figures import compare
from rcframe.findings.folders import Collection, Group
from rcframe.findings.records import ClaimRecord, ComparisonRecord, ReproductionRecord, Verdict
from rcframe.findings.statistics import Difference


def judge(recipe: Recipe, scale: Scale, found: Collection) -> ReproductionRecord:
    """Return which claims of a recipe hold for these runs."""
    groups = {group.name: group for group in found.groups}
    return ReproductionRecord(
        recipe=recipe.name,
        title=recipe.title,
        source=recipe.source,
        scale=scale,
        note=recipe.notes[scale],
        figures=tuple(f"{about.role} {about.what}" for about in recipe.figures),
        published=recipe.published,
        claims=tuple(judge_claim(claim, scale, groups) for claim in recipe.claims_at(scale)),
    )


def judge_claim(claim: Claim, scale: Scale, groups: Mapping[str, Group]) -> ClaimRecord:
    """Hold every comparison of a claim; it holds if all of them do, and does not if one does not."""
    comparisons = tuple(_compared(claim, pair, groups) for pair in claim.pairs)
    verdicts = [comparison.verdict for comparison in comparisons]
    return ClaimRecord(
        says=claim.says,
        verdict=_together(verdicts),
        comparisons=comparisons,
        note=claim.note if scale == "small" else "",
    )


def _together(verdicts: Sequence[Verdict]) -> Verdict:
    if "does not hold" in verdicts:
        return "does not hold"
    return "undecided" if "undecided" in verdicts else "holds"


def _compared(claim: Claim, pair: Pair, groups: Mapping[str, Group]) -> ComparisonRecord:
    first, second = groups.get(pair.higher), groups.get(pair.lower)
    difference = compare(first, second, claim.about, claim.against) if first and second else None
    return ComparisonRecord(
        words=_words(claim, pair),
        difference=difference,
        verdict=decide(claim, difference) if difference else "undecided",
        unit=claim.unit,
    )


def _words(claim: Claim, pair: Pair) -> str:
    mine, theirs = _sides(claim, pair)
    points = "" if claim.unit == 1.0 else " points"
    if claim.within is not None:
        return f"{mine} and {theirs} differ by less than {claim.within:g}{points}"
    if claim.by < 0:
        return f"{mine} is at most {-claim.by:g}{points} below {theirs}"
    more = f" by more than {claim.by:g}{points}" if claim.by else ""
    return f"{mine} is higher than {theirs}{more}"


def _sides(claim: Claim, pair: Pair) -> tuple[str, str]:
    """Name what is compared, as briefly as two rows, two figures, or both need."""
    mine, theirs = (f"{about.role} {about.what}" for about in (claim.about, claim.against))
    if claim.about == claim.against:
        return f"{mine}: `{pair.higher}`", f"`{pair.lower}`"
    if pair.higher == pair.lower:
        return f"`{pair.higher}`: {mine}", theirs
    return f"{mine} of `{pair.higher}`", f"{theirs} of `{pair.lower}`"


def decide(claim: Claim, difference: Difference) -> Verdict:
    """Say what a difference with its 95% interval says of a claim; one seed decides nothing that is trained."""
    if difference.seeds < 2:
        return "undecided"
    if claim.within is not None:
        width = claim.within * claim.unit
        if -width < difference.low and difference.high < width:
            return "holds"
        return "does not hold" if difference.low > width or difference.high < -width else "undecided"
    least = claim.by * claim.unit
    if difference.low > least:
        return "holds"
    return "does not hold" if difference.high < least else "undecided"

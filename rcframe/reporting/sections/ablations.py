"""Accuracy against each setting with numbers that was varied while everything else stayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rcframe.findings.folders import Collection
from rcframe.reporting.chart import Axis, Chart, Line, sentence
from rcframe.reporting.exhibits import exhibit_of
from rcframe.reporting.families import Family, families, title_of, varied
from rcframe.reporting.measures import Measure, axis_of, measures
from rcframe.reporting.section import Exhibit, Section
from rcframe.reporting.series import Series, without_twins

#: They say at what radius and on how much was measured: their figures are elsewhere, or say nothing.
_ELSEWHERE = ("eps", "eval_size")
_MOST_LINES = 12
_MOST = 24


def section(collection: Collection) -> Section | None:
    """Return the section on settings that were varied."""
    names = [name for name in varied(collection.groups) if name not in _ELSEWHERE]
    drawn = [exhibit for name in names for exhibit in _exhibits(name, families(collection.groups, name))]
    if not drawn:
        return None
    says = ["Runs that are joined differ in the named setting and in nothing else. Bars are 95% intervals."]
    if len(drawn) > _MOST:
        says.append(f"The first {_MOST} of {len(drawn)} figures are shown.")
    return Section(name="ablations", title="One setting at a time", says=tuple(says), exhibits=tuple(drawn[:_MOST]))


def _exhibits(setting: str, found: Sequence[Family]) -> Iterator[Exhibit]:
    """Draw all accuracies of a single family together; of several families, each accuracy with all of them."""
    series = [Series(family, measure) for family in found for measure in _measures(family)]
    whats = list(dict.fromkeys(one.measure.what for one in series))
    if len(found) == 1:
        lines = [one.line(whats.index(one.measure.what), one.measure.words) for one in series]
        yield _exhibit(setting, "accuracy", setting, lines)
        return
    for number, what in enumerate(whats, 1):
        lines = without_twins([one for one in series if one.measure.what == what])
        yield _exhibit(setting, f"accuracy ({what})", f"{setting}-{number}", lines[:_MOST_LINES])


def _measures(family: Family) -> list[Measure]:
    return measures([member.group for member in family.members])


def _exhibit(setting: str, what: str, name: str, lines: Sequence[Line]) -> Exhibit:
    chart = Chart(x=axis_of(setting, lines), y=Axis("accuracy (%)"), lines=tuple(lines))
    caption = sentence(f"{what} against {title_of(setting)}; the teacher's is dashed")
    return exhibit_of(chart, f"ablation-{name}", caption)

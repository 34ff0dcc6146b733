"""Accuracy against the radius of attacks and certificates, of single runs and across runs."""

from __future__ import annotations

import attrs

from rcframe.findings.folders import Collection
from rcframe.reporting.chart import Axis, Chart, Line, sentence
from rcframe.reporting.exhibits import exhibit_of
from rcframe.reporting.families import Family, families
from rcframe.reporting.measures import Measure, clean_at_zero, line_of, measures
from rcframe.reporting.radius_curves import eps_axis, exhibits, radius_curves, sayings
from rcframe.reporting.section import Exhibit, Section

_MOST = 8


def section(collection: Collection) -> Section | None:
    """Return the section on eps."""
    own = radius_curves(collection.groups)
    found = families(collection.groups, "eps")
    drawn = [_exhibit(family, number) for number, family in enumerate(found[:_MOST])]
    if not drawn and not own:
        return None
    across = (
        "What the same training yields at other radii. At eps 0 stands the clean accuracy. Bars are 95% intervals.",
        *((f"The first {_MOST} of {len(found)} configurations are drawn.",) if len(found) > _MOST else ()),
    )
    says = (*sayings(own), *(across if drawn else ()))
    return Section(name="eps", title="Accuracy against eps", says=says, exhibits=(*exhibits(own), *drawn))


def _exhibit(family: Family, number: int) -> Exhibit:
    found = [measure for measure in measures([member.group for member in family.members]) if measure.what != "clean"]
    found = found or measures([member.group for member in family.members])
    whats = list(dict.fromkeys(measure.what for measure in found))
    lines = tuple(_line(family, measure, whats.index(measure.what)) for measure in found)
    chart = Chart(x=eps_axis(family.members[0].group), y=Axis("accuracy (%)", low=0, high=100), lines=lines)
    of = f": {family.name}" if family.name else ""
    return exhibit_of(chart, f"eps-{number + 1}", sentence(f"accuracy of teacher (dashed) and student against eps{of}"))


def _line(family: Family, measure: Measure, number: int) -> Line:
    line, start = line_of(family, measure, number, measure.words), clean_at_zero(family, measure)
    return attrs.evolve(line, points=(start, *line.points)) if start else line

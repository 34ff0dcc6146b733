"""Accuracy against the size of the student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from rcframe.findings.figures import ROLES, estimate_of
from rcframe.findings.folders import Collection, Group
from rcframe.findings.overview import accuracies_of
from rcframe.findings.tables import Table
from rcframe.reporting.chart import Axis, Chart, Line, Point, Style, number, percent_point, sentence, spans_decades
from rcframe.reporting.drawing import draw, legend
from rcframe.reporting.exhibits import exhibit_of
from rcframe.reporting.measures import measures
from rcframe.reporting.section import Exhibit, Section
from rcframe.reporting.series import Series, without_twins
from rcframe.reporting.widths import Widths, widths
from rcframe.session.evidence import About, Role

#: Networks that differ by less than this factor are of one size: neurons may add a parameter to a layer.
_SMALLER = 0.95
_CAPTION = (
    "Accuracy against the parameters that are not zero: filled, students; hollow, their teachers. "
    "Bars are 95% intervals."
)
_JOINED = (
    "Where students of one kind of network differ in nothing but their width, each way of learning has a line of its "
    "own; the hollow point is the teacher."
)
_MOST_LINES = 12


def section(collection: Collection) -> Section | None:
    """Return the section on compression, if there are students or teachers of several sizes."""
    groups = collection.groups
    sizes = {role: {_nonzero(group, role) for group in groups} for role in ROLES}
    if all(min(of_role) > _SMALLER * max(of_role) for of_role in sizes.values()):
        # What all have in common, such as being half as large as their teacher, is no abscissa.
        return None
    lines = tuple(_lines(groups))
    log = spans_decades(sizes["teacher"] | sizes["student"])
    chart = Chart(x=Axis("parameters that are not zero", log=log, at_values=True), y=Axis("accuracy (%)"), lines=lines)
    exhibit = Exhibit(
        name="compression", caption=_CAPTION, data=_data(groups), drawing=draw(chart, _CAPTION), legend=legend(lines)
    )
    by_kind = tuple(_by_kind(list(widths(groups))))
    return Section(
        name="compression",
        title="Accuracy against compression",
        says=(_JOINED,) if by_kind else (),
        exhibits=(exhibit, *by_kind),
    )


def _by_kind(found: Sequence[Widths]) -> Iterator[Exhibit]:
    """Draw each accuracy of each kind of network over its width, with a line for each way of learning."""
    kinds = [one.kind for one in found]
    for place, one in enumerate(found, 1):
        for which, (what, lines) in enumerate(over_widths(one), 1):
            log = spans_decades([point.x for line in lines for point in line.points])
            axis = Axis("parameters", log=log, at_values=True)
            caption = sentence(f"accuracy ({what}) against the parameters of the student: {one.kind.told_from(kinds)}")
            chart = Chart(x=axis, y=Axis("accuracy (%)"), lines=tuple(lines[:_MOST_LINES]))
            yield exhibit_of(chart, f"widths-{place}-{which}", caption)


def over_widths(found: Widths) -> Iterator[tuple[str, list[Line]]]:
    """Yield the name of each accuracy with its lines over the parameters; a teacher is a single point."""
    series = [
        Series(family, measure)
        for pair in zip(found.teachers, found.students, strict=True)
        for family, role in zip(pair, ROLES, strict=True)
        for measure in measures([member.group for member in family.members])
        if measure.role == role
    ]
    for what in dict.fromkeys(one.measure.what for one in series):
        lines = without_twins([one for one in series if one.measure.what == what])
        yield what, [line if len(line.points) > 1 else attrs.evolve(line, form="mark") for line in lines]


def _lines(groups: Sequence[Group]) -> Iterator[Line]:
    whats = list(dict.fromkeys(about.what for about in accuracies_of(groups)))
    for about in accuracies_of(groups):
        points = dict.fromkeys(_point(group, about) for group in groups)
        known = tuple(point for point in points if point is not None)
        style = Style(whats.index(about.what), dashed=about.role == "teacher")
        yield Line(f"{about.role}, {about.what}", known, style, "mark")


def _point(group: Group, about: About) -> Point | None:
    found = estimate_of(group, about)
    return percent_point(_nonzero(group, about.role), found) if found else None


def _nonzero(group: Group, role: Role) -> float:
    found = estimate_of(group, About(role, "nonzero"))
    return found.mean if found else 0.0


def _data(groups: Sequence[Group]) -> Table:
    """Return a row for each group, the largest student first."""
    abouts = accuracies_of(groups)
    heads = [f"{about.role}, {about.what}{end}" for about in abouts for end in ("", ": low", ": high")]
    rows = []
    for group in sorted(groups, key=lambda group: -_nonzero(group, "student")):
        cells = [group.name, number(_nonzero(group, "teacher")), number(_nonzero(group, "student"))]
        for about in abouts:
            point = _point(group, about)
            ends = (point.y, point.low or 0.0, point.high or 0.0) if point else ()
            cells += [number(end) for end in ends] or ["-"] * 3
        rows.append(tuple(cells))
    return Table("Accuracy against compression", ("run", "teacher non-zero", "student non-zero", *heads), tuple(rows))

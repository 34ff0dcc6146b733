"""Curves that runs measured themselves: accuracy at every radius, attack by attack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from rcframe.findings.figures import ROLES, accuracies, at_radius, estimate_of, model_of
from rcframe.findings.folders import Group
from rcframe.reporting.chart import COLOURS, Axis, Chart, Line, Point, Style, percent_point, sentence
from rcframe.reporting.exhibits import exhibit_of
from rcframe.reporting.section import Exhibit
from rcframe.session.evidence import About, Role
from rcframe.session.outcomes import WORST_CASE

#: Configurations that are drawn alone, attacks under which they are drawn together, and lines of one chart.
_ALONE, _TOGETHER, _LINES = 3, 4, 7


@attrs.frozen
class RadiusCurve:
    """The accuracy of a network under one attack, over the radius, in percent."""

    what: str
    points: tuple[Point, ...]


@attrs.frozen(eq=False)
class Curves:
    """The curves of one configuration."""

    group: Group
    teacher: tuple[RadiusCurve, ...]
    student: tuple[RadiusCurve, ...]

    @classmethod
    def of(cls, group: Group) -> Curves:
        """Read the means over the seeds."""
        return cls(group, *(tuple(_curves(group, role)) for role in ROLES))

    def of_role(self, role: Role) -> tuple[RadiusCurve, ...]:
        """Return the curves of one of the two networks."""
        return self.teacher if role == "teacher" else self.student

    def points(self, role: Role, what: str) -> tuple[Point, ...]:
        """Return the curve under one attack; nothing if it was not measured."""
        return next((curve.points for curve in self.of_role(role) if curve.what == what), ())


def _curves(group: Group, role: Role) -> Iterator[RadiusCurve]:
    for what, measured in accuracies(model_of(group.first.report, role)):
        radii = [(point.eps, at_radius(About(role, what), point.eps)) for point in measured.curve]
        found = [(eps, estimate_of(group, about)) for eps, about in radii]
        points = tuple(percent_point(eps, estimate) for eps, estimate in found if estimate)
        if points:
            yield RadiusCurve(what, points)


def radius_curves(groups: Sequence[Group]) -> list[Curves]:
    """Return the curves of all configurations that measured some."""
    found = [Curves.of(group) for group in groups]
    return [curves for curves in found if curves.teacher or curves.student]


def sayings(found: Sequence[Curves]) -> Iterator[str]:
    """Say how the curves are to be read."""
    if len(found) > 1:
        yield "First all configurations that measured curves, attack by attack, then single ones."
    if found:
        yield (
            "In a figure of one network, each line is an attack or a certifier. The thick one is the worst case: "
            "images that no attack of the run broke. A band is a 95% interval; those of other lines are in the data."
        )
    if len(found) > _ALONE:
        yield f"The first {_ALONE} of {len(found)} configurations are drawn alone."


def exhibits(found: Sequence[Curves]) -> Iterator[Exhibit]:
    """Draw configurations together, attack by attack, then the first of them alone, teacher and student in turn."""
    if len(found) > 1:
        for number, what in enumerate(_whats(found)[:_TOGETHER], 1):
            yield _together(found, what, f"curves-{number}")
    drawn: set[tuple[RadiusCurve, ...]] = set()
    for number, curves in enumerate(found[:_ALONE], 1):
        of = f": {curves.group.name}" if len(found) > 1 else ""
        for role in ROLES:
            own = curves.of_role(role)
            if own and own not in drawn:
                drawn.add(own)
                caption = sentence(f"accuracy of the {role} against eps{of}")
                yield exhibit_of(_chart(curves.group, _attacks(own, _whats(found))), f"curve-{number}-{role}", caption)


def _whats(found: Sequence[Curves]) -> list[str]:
    """Name everything that has a curve, the worst case first."""
    names = dict.fromkeys(curve.what for curves in found for role in ROLES for curve in curves.of_role(role))
    return sorted(names, key=lambda what: what != WORST_CASE)


def _attacks(curves: Sequence[RadiusCurve], whats: Sequence[str]) -> list[Line]:
    """Return a line for each attack, of the same style wherever it is drawn; the worst case lies on top."""
    others = [what for what in whats if what != WORST_CASE]
    ordered = sorted(curves, key=lambda curve: curve.what == WORST_CASE)
    # One band can be read; several on top of each other hide the lines.
    return [
        Line(curve.what, curve.points, _style(curve.what, others), "band" if curve is ordered[-1] else "plain")
        for curve in ordered
    ]


def _style(what: str, others: Sequence[str]) -> Style:
    """Leave the colour of ink, the last one, to the worst case."""
    if what == WORST_CASE:
        return Style(COLOURS - 1, thick=True)
    rounds, place = divmod(others.index(what), COLOURS - 1)
    return Style(COLOURS * rounds + place)


def _together(found: Sequence[Curves], what: str, name: str) -> Exhibit:
    """Draw all students under one attack, and each teacher that some of them share once."""
    lines: dict[tuple[bool, tuple[Point, ...]], Line] = {}
    for role in ("student", "teacher"):
        for number, curves in enumerate(found):
            points = curves.points(role, what)
            words = curves.group.name if role == "student" else f"teacher: {curves.group.name}"
            line = Line(words, points, Style(number, dashed=role == "teacher"), "plain")
            if points:
                lines.setdefault((line.style.dashed, points), line)
    shown = list(lines.values())[:_LINES]
    few = f"; the first {_LINES} of {len(lines)} lines" if len(lines) > _LINES else ""
    caption = sentence(f"accuracy against eps, {what}: students, and teachers (dashed){few}")
    return exhibit_of(_chart(found[0].group, _named(shown)), name, caption)


def _named(lines: Sequence[Line]) -> list[Line]:
    """Call a teacher that all share by its role alone."""
    shared = sum(line.style.dashed for line in lines) == 1
    return [attrs.evolve(line, name="teacher") if shared and line.style.dashed else line for line in lines]


def _chart(group: Group, lines: Sequence[Line]) -> Chart:
    return Chart(x=eps_axis(group), y=Axis("accuracy (%)", low=0, high=100), lines=tuple(lines))


def eps_axis(group: Group) -> Axis:
    """Return the axis of radii."""
    return Axis(f"eps ({group.first.settings.get('norm', '')}, in pixels of 0 to 1)", at_values=True)

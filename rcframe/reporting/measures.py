"""What was measured of groups that are alike: found by its place, since its name may hold the setting that differs."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rcframe.evaluation.estimates import Estimate
from rcframe.findings.figures import ROLES, accuracies, estimate_of, model_of
from rcframe.findings.folders import Group
from rcframe.reporting.chart import Axis, Line, Point, Style, percent_point, spans_decades
from rcframe.reporting.families import Family, title_of
from rcframe.session.evidence import About, Role
from rcframe.session.outcomes import WORST_CASE


@attrs.frozen
class Measure:
    """One accuracy of one role, with its name in each of some groups."""

    role: Role
    names: tuple[str, ...]

    @property
    def words(self) -> str:
        """Whose accuracy it is, and which."""
        return f"{self.role}, {self.what}"

    @property
    def what(self) -> str:
        """The name of what was measured; without options where these differ."""
        first = self.names[0]
        return first if len(set(self.names)) == 1 else first.partition(":")[0]

    def about(self, place: int) -> About:
        """Return what was measured of the group at a place."""
        return About(self.role, self.names[place])


def measures(groups: Sequence[Group]) -> list[Measure]:
    """Return the accuracies that all of these groups have: clean, each attack, each certifier, the worst case.

    The teacher's come first.
    """
    found = []
    for role in ROLES:
        models = [model_of(group.first.report, role) for group in groups]
        names = [[what for what, _ in accuracies(model) if what != WORST_CASE] for model in models]
        found += [Measure(role, same) for same in zip(*names, strict=False)]
        if all(model.worst_case for model in models):
            found.append(Measure(role, (WORST_CASE,) * len(models)))
    return found


def estimates(family: Family, measure: Measure) -> list[tuple[float, Estimate]]:
    """Return an accuracy at each value of a family's setting."""
    return [
        (member.value, found)
        for place, member in enumerate(family.members)
        if (found := estimate_of(member.group, measure.about(place))) is not None
    ]


def line_of(family: Family, measure: Measure, number: int, name: str) -> Line:
    """Return an accuracy over the setting of a family; the teacher's is dashed."""
    points = tuple(percent_point(value, found) for value, found in estimates(family, measure))
    return Line(name, points, Style(number, dashed=measure.role == "teacher"))


def axis_of(setting: str, lines: Sequence[Line]) -> Axis:
    """Return the axis of a setting, with a tick at each value."""
    values = [point.x for line in lines for point in line.points]
    return Axis(title_of(setting), log=spans_decades(values), at_values=True)


def clean_at_zero(family: Family, measure: Measure) -> Point | None:
    """Return the clean accuracy where a robust one of eps 0 stands; None if it depends on eps, or is there already."""
    clean = [estimate_of(member.group, About(measure.role, "clean")) for member in family.members]
    if clean[0] is None or any(other != clean[0] for other in clean) or family.members[0].value == 0:
        return None
    return percent_point(0.0, clean[0])

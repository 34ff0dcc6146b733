"""Accuracies of families as lines, each network drawn once and named by what tells it from the others."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rcframe.reporting.chart import Line, Style
from rcframe.reporting.families import Family
from rcframe.reporting.measures import Measure, line_of
from rcframe.reporting.traits import OF_STUDENT, Settings, in_words, part_of
from rcframe.session.evidence import Role

#: Parts that measure networks and make none.
_MEASURING = ("attack", "certifier", "radii")


@attrs.frozen(eq=False)
class Series:
    """An accuracy over a family."""

    family: Family
    measure: Measure

    def line(self, number: int, name: str) -> Line:
        """Draw it in the style of a number."""
        return line_of(self.family, self.measure, number, name)


@attrs.frozen(eq=False)
class Shared:
    """A line that shows the same network in some families."""

    line: Line
    role: Role
    families: tuple[Family, ...]

    def joined(self, line: Line, family: Family) -> Shared | None:
        """Return it with the line of another family; None if the two say different things of the same value."""
        points = {point.x: point for point in (*line.points, *self.line.points)}
        if not {*line.points, *self.line.points} <= set(points.values()):
            return None
        ordered = tuple(points[x] for x in sorted(points))
        return Shared(attrs.evolve(self.line, points=ordered), self.role, (*self.families, family))

    @property
    def short(self) -> str:
        """The name by what these families have in common; a teacher is not named by its student."""
        first, *others = (family.traits for family in self.families)
        common = [trait for trait in first if all(trait in traits for traits in others)]
        if self.role == "student":
            return _titled(self.role, in_words(common))
        return _titled(self.role, ", ".join(trait.words for trait in common if part_of(trait.part) not in OF_STUDENT))

    @property
    def long(self) -> str:
        """The name by the first of these families."""
        more = f" and {len(self.families) - 1} more" if len(self.families) > 1 else ""
        return _titled(self.role, self.families[0].name + more)


def _titled(role: Role, words: str) -> str:
    return f"{role}: {words}" if words else role


def without_twins(series: Sequence[Series]) -> list[Line]:
    """Give each family a style, and draw a network that several share, such as their teacher, only once."""
    drawn: list[Shared] = []
    for one in series:
        line, role = one.line(0, one.measure.role), one.measure.role
        for place, shared in enumerate(drawn):
            alike = role == shared.role and network_of(one.family, role) == network_of(shared.families[0], role)
            if alike and (joined := shared.joined(line, one.family)):
                drawn[place] = joined
                break
        else:
            drawn.append(Shared(line, role, (one.family,)))
    order = list(dict.fromkeys(shared.families[0] for shared in drawn))
    shorts = [shared.short for shared in drawn]
    return [
        attrs.evolve(
            shared.line,
            name=short if shorts.count(short) == 1 else shared.long,
            style=Style(order.index(shared.families[0]), shared.line.style.dashed),
        )
        for shared, short in zip(drawn, shorts, strict=True)
    ]


def network_of(family: Family, role: Role) -> Settings:
    """Return the settings that make a network what it is; those of attacks and certifiers only measure it."""
    return tuple(
        (name, text)
        for name, text in family.settings
        if part_of(name) not in (*_MEASURING, *(OF_STUDENT if role == "teacher" else ()))
    )

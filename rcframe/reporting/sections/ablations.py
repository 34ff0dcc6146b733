"""Accuracy against each setting with numbers that was varied while everything else stayed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from rcframe.findings.folders import Collection
from rcframe.reporting.chart import Axis, Chart, Line, Style, sentence
from rcframe.reporting.exhibits import exhibit_of
from rcframe.reporting.families import Family, families, title_of, varied
from rcframe.reporting.measures import Measure, axis_of, line_of, measures
from rcframe.reporting.section import Exhibit, Section
from rcframe.reporting.traits import OF_STUDENT, Settings, in_words, part_of
from rcframe.session.evidence import Role

#: They say at what radius and on how much was measured: their figures are elsewhere, or say nothing.
_ELSEWHERE = ("eps", "eval_size")
#: Parts that measure networks and make none.
_MEASURING = ("attack", "certifier", "radii")
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
        lines = _without_twins([one for one in series if one.measure.what == what])
        yield _exhibit(setting, f"accuracy ({what})", f"{setting}-{number}", lines[:_MOST_LINES])


@attrs.frozen(eq=False)
class Series:
    """An accuracy over a family."""

    family: Family
    measure: Measure

    def line(self, number: int, name: str) -> Line:
        """Draw it in the style of a number."""
        return line_of(self.family, self.measure, number, name)


def _measures(family: Family) -> list[Measure]:
    return measures([member.group for member in family.members])


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


def _without_twins(series: Sequence[Series]) -> list[Line]:
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
    order = list(dict.fromkeys(one.family for one in series))
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


def _exhibit(setting: str, what: str, name: str, lines: Sequence[Line]) -> Exhibit:
    chart = Chart(x=axis_of(setting, lines), y=Axis("accuracy (%)"), lines=tuple(lines))
    caption = sentence(f"{what} against {title_of(setting)}; the teacher's is dashed")
    return exhibit_of(chart, f"ablation-{name}", caption)

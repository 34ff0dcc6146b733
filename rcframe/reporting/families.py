"""Groups of runs that differ in one setting and in nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rcframe.findings.folders import Group
from rcframe.findings.settings import MACHINE
from rcframe.options import Number
from rcframe.reporting.traits import Alike, Settings, Trait, in_words, told_apart

#: What says where, with which chance, and on how much a run was done.
_ASIDE = (*MACHINE, "seed")


@attrs.frozen(eq=False)
class Member:
    """A group, and the value that it has for the setting."""

    value: float
    group: Group


@attrs.frozen(eq=False)
class Family:
    """Groups that differ in one setting only, by its value."""

    #: What tells the family from the others; empty if it is the only one.
    traits: tuple[Trait, ...]
    #: The settings in which its members are equal.
    settings: Settings
    members: tuple[Member, ...]

    @property
    def name(self) -> str:
        """What tells the family from the others, in words."""
        return in_words(self.traits)


def varied(groups: Sequence[Group]) -> list[str]:
    """Name the settings with numbers that tell some groups apart that are otherwise equal."""
    names = dict.fromkeys(name for group in groups for name in group.first.settings if name not in _ASIDE)
    several = [name for name in names if len({group.first.settings.get(name) for group in groups}) > 1]
    return [name for name in several if families(groups, name)]


def families(groups: Sequence[Group], setting: str) -> list[Family]:
    """Return the groups that differ in one setting and in nothing else, together; loners are left out."""
    together: dict[Settings, list[Member]] = {}
    for group in groups:
        value = _number(group.first.settings.get(setting))
        if value is not None:
            together.setdefault(_others(group, setting), []).append(Member(value, group))
    found = {
        others: sorted(members, key=lambda member: member.value)
        for others, members in together.items()
        if len({member.value for member in members}) > 1
    }
    alike = [Alike(tuple(member.group for member in members), others) for others, members in found.items()]
    return [
        Family(traits, one.settings, tuple(found[one.settings]))
        for one, traits in zip(alike, told_apart(alike, setting), strict=True)
    ]


def _others(group: Group, setting: str) -> Settings:
    aside = {*_ASIDE, setting}
    return tuple(sorted((name, text) for name, text in group.first.settings.items() if name not in aside))


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(Number(text))
    except (ValueError, ZeroDivisionError):
        return None


def title_of(setting: str) -> str:
    """Return the name of a setting as words: `student.temperature` as `temperature of the student`."""
    part, _, option = setting.partition(".")
    return f"{option} of the {part}".replace("_", " ") if option else setting.replace("_", " ")

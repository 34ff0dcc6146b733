"""Students of one kind of network in several widths, joined for each way of learning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from rcframe.findings.figures import estimate_of
from rcframe.findings.folders import Group
from rcframe.findings.settings import MACHINE
from rcframe.options import Number
from rcframe.reporting.families import Family, Member
from rcframe.reporting.traits import Alike, Settings, told_apart
from rcframe.session.evidence import About, Role

_PART = "student_model"
_ASIDE = (*MACHINE, "seed")


@attrs.frozen
class Kind:
    """A kind of network: everything about it but its numbers."""

    name: str
    #: Its options in words, with how many numbers each has in place of these.
    options: tuple[str, ...]

    def told_from(self, others: Sequence[Kind]) -> str:
        """Name it, with the options by which it differs from others of this name."""
        common = set(self.options).intersection(*(other.options for other in others if other.name == self.name))
        return ", ".join([self.name, *(words for words in self.options if words not in common)])


@attrs.frozen(eq=False)
class Widths:
    """The students of one kind, and their teachers, over their sizes; the two lie side by side."""

    kind: Kind
    students: tuple[Family, ...]
    teachers: tuple[Family, ...]


def widths(groups: Sequence[Group]) -> Iterator[Widths]:
    """Yield the kinds of networks of which otherwise equal groups have students of several sizes."""
    together: dict[Kind, dict[Settings, list[Group]]] = {}
    for group in groups:
        if kind := _kind(group):
            together.setdefault(kind, {}).setdefault(_others(group), []).append(group)
    for kind, families in together.items():
        several = {others: same for others, same in families.items() if len(set(map(_student_size, same))) > 1}
        if several:
            yield _side_by_side(kind, several)


def _side_by_side(kind: Kind, families: Mapping[Settings, Sequence[Group]]) -> Widths:
    alike = [Alike(tuple(same), others) for others, same in families.items()]
    named = list(zip(alike, told_apart(alike, _PART), strict=True))
    students = [Family(traits, one.settings, _members(one.groups, "student")) for one, traits in named]
    # One of its pairs shows a teacher, which is the same for all students of a family.
    teachers = [Family(traits, one.settings, _members(one.groups[:1], "teacher")) for one, traits in named]
    return Widths(kind, tuple(students), tuple(teachers))


def _members(groups: Sequence[Group], role: Role) -> tuple[Member, ...]:
    return tuple(sorted((Member(_size(group, role), group) for group in groups), key=lambda member: member.value))


def _size(group: Group, role: Role) -> float:
    found = estimate_of(group, About(role, "parameters"))
    return found.mean if found else 0.0


def _student_size(group: Group) -> float:
    return _size(group, "student")


def _kind(group: Group) -> Kind | None:
    """Return the kind of the student's network; None if it has none of its own."""
    name = group.first.settings.get(_PART, "none")
    if name == "none":
        return None
    return Kind(name, tuple(_words(option, text) for option, text in _options(group).items()))


def _options(group: Group) -> Mapping[str, str]:
    settings, prefix = group.first.settings, f"{_PART}."
    return {name.removeprefix(prefix): text for name, text in settings.items() if name.startswith(prefix)}


def _words(option: str, text: str) -> str:
    count = _numbers(text)
    return f"{option} of {count} number{'s' * (count > 1)}" if count else f"{option} {text}"


def _numbers(text: str) -> int:
    """Return how many numbers a text holds; 0 if it holds anything else."""
    try:
        return len([Number(part) for part in text.split("+")])
    except (ValueError, ZeroDivisionError):
        return 0


def _others(group: Group) -> Settings:
    """Return the settings of a group but for its network's numbers, which belong to its width."""
    own = {f"{_PART}.{option}" for option, text in _options(group).items() if _numbers(text)}
    aside = {*_ASIDE, *own}
    return tuple(sorted((name, text) for name, text in group.first.settings.items() if name not in aside))

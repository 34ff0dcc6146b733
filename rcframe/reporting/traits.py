"""What tells sets of runs from each other, in the words of their matrix, else of their command lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath

import attrs

from rcframe.choice import format_choice, parse_choice
from rcframe.errors import RequestError
from rcframe.findings.folders import Group

Settings = tuple[tuple[str, str], ...]
#: Parts that make students and no teachers.
OF_STUDENT = ("student", "student_model", "pruner", "access", "budget")


@attrs.frozen
class Trait:
    """One thing in which a set of runs differs from others."""

    #: The part of a run that it is about, such as `teacher`, or what a matrix calls that.
    part: str
    words: str
    #: Whether a matrix says so, whose rows people know by these words.
    labelled: bool = False


def in_words(traits: Sequence[Trait]) -> str:
    """Name runs or their students; the spec string of a teacher alone would pass for theirs."""
    bare = any(trait.labelled and part_of(trait.part) in OF_STUDENT for trait in traits)
    return ", ".join(
        trait.words if trait.part != "teacher" or (trait.labelled and bare) else f"taught by {trait.words}"
        for trait in traits
    )


@attrs.frozen(eq=False)
class Alike:
    """Groups that differ in one setting, and the settings in which they do not."""

    groups: tuple[Group, ...]
    settings: Settings

    @property
    def home(self) -> Path | None:
        """The folder of the matrix that they are rows of, or None."""
        homes = {matrix_of(group) for group in self.groups}
        return homes.pop() if len(homes) == 1 else None

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels that all of them have."""
        first, *others = (group.labels for group in self.groups)
        return {axis: label for axis, label in first.items() if all(other.get(axis) == label for other in others)}


def part_of(name: str) -> str:
    """Return the part of a run that a setting belongs to: `attack` of `attack 2.steps`."""
    return name.partition(".")[0].partition(" ")[0]


def matrix_of(group: Group) -> Path | None:
    """Return the folder of the matrix that a group is a row of."""
    run = group.first
    return run.path.resolve().parents[len(PurePath(run.row.folder).parts) - 1] if run.row else None


def told_apart(sets: Sequence[Alike], setting: str) -> list[tuple[Trait, ...]]:
    """Return for each set what tells it from the others; within each, `setting` differs."""
    if len(sets) < 2:
        return [() for _ in sets]
    homes = [alike.home for alike in sets]
    found = [(*_own_words(alike, sets, setting), *_where(alike, homes)) for alike in sets]
    alike_named = [[other for other, others in zip(sets, found, strict=True) if others == traits] for traits in found]
    return _numbered(
        [
            (*traits, *_specs(alike, same, setting)) if alike.home and len(same) > 1 else traits
            for alike, traits, same in zip(sets, found, alike_named, strict=True)
        ]
    )


def _own_words(alike: Alike, sets: Sequence[Alike], setting: str) -> Iterator[Trait]:
    if alike.home:
        return _labels(alike)
    return _specs(alike, [other for other in sets if other.home is None], setting)


def _where(alike: Alike, homes: Sequence[Path | None]) -> Iterator[Trait]:
    if len(set(homes)) > 1:
        yield Trait("matrix", f"matrix {alike.home.name}" if alike.home else "no matrix")


def _numbered(found: Sequence[tuple[Trait, ...]]) -> list[tuple[Trait, ...]]:
    times: Counter[tuple[Trait, ...]] = Counter()
    numbered = []
    for traits in found:
        times[traits] += 1
        numbered.append(traits if times[traits] == 1 else (*traits, Trait("number", f"number {times[traits]}")))
    return numbered


def _labels(alike: Alike) -> Iterator[Trait]:
    for axis, label in alike.labels.items():
        plain = label[:1].isalpha() and label not in ("none", "true", "false")
        yield Trait(axis, label if plain else f"{axis.rpartition('.')[2]} {label}", labelled=True)


def _specs(alike: Alike, sets: Sequence[Alike], setting: str) -> Iterator[Trait]:
    """Yield the parts that differ as they were typed, without the setting that is drawn."""
    own, common = set(alike.settings), set.intersection(*(set(other.settings) for other in sets))
    group = alike.groups[0]
    names = [name for name in group.first.settings if any(name == other for other, _ in own - common)]
    for part in dict.fromkeys(map(part_of, names)):
        typed = group.first.typed.get(part)
        if typed is None:
            yield Trait(part, f"{part} {group.first.settings.get(part, 'none')}")
        else:
            yield Trait(part, _without(typed, setting) if part == part_of(setting) else typed)


def _without(typed: str, setting: str) -> str:
    """Leave an option out of spec strings."""
    part, _, option = setting.partition(".")
    between = " then " if " then " in typed else ", "
    specs = typed.split(between)
    number = int(part.partition(" ")[2] or 1) - 1
    try:
        choice = parse_choice(specs[number], part_of(part))
    except (RequestError, IndexError):
        return typed
    # The value of a spec string that stands without a name may be that option.
    dropped = option if option in choice.options else ""
    left = {name: value for name, value in choice.options.items() if name != dropped}
    specs[number] = format_choice(attrs.evolve(choice, options=left))
    return between.join(specs)

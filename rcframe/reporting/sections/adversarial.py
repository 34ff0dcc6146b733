"""What attacks made of pictures."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.evaluation.album import pictured
from rcframe.findings.figures import ROLES
from rcframe.findings.folders import Collection, Group
from rcframe.findings.tables import NOTHING, Table
from rcframe.reporting.pixels import data_uri, magnification, magnified, small, stacked
from rcframe.reporting.section import Exhibit, Picture, Section, Strip
from rcframe.session.evidence import About, Evidence

_PICTURES = 6
_GROUPS = 3
#: Numbers in all pictures of the section together; noise does not compress.
_BUDGET = 700_000


@attrs.frozen(eq=False)
class Attacked:
    """What one attack made of the pictures of a run."""

    evidence: Evidence
    about: About

    @property
    def count(self) -> int:
        """How many pictures there are."""
        return len(self.evidence.adversarial[self.about])

    def label(self, place: int) -> str:
        """The class of a picture."""
        return self.evidence.classes[int(self.evidence.labels[place])]

    def taken_for(self, place: int) -> str:
        """What the network takes the picture for as it was."""
        logits = self.evidence.logits.get(self.about.role)
        return NOTHING if logits is None else self.evidence.classes[int(logits[place].argmax())]

    def change(self, place: int) -> NDArray[np.int64]:
        """By how much each number of the picture changed (C, H, W), of 255."""
        before, after = self.evidence.pictures[place], self.evidence.adversarial[self.about][place]
        return np.asarray(np.abs(after.astype(np.int64) - before.astype(np.int64)))

    def withstood(self, place: int) -> str:
        """Say whether the network was right about what the attack made of it."""
        right = self.evidence.right.get(self.about)
        if right is None:
            return NOTHING
        measured = pictured(len(right), self.evidence.pictures.shape[1:])
        return ("right" if right[int(measured[place])] else "wrong") if len(measured) == self.count else NOTHING


def section(collection: Collection) -> Section | None:
    """Return the section on adversarial pictures."""
    groups = [group for group in collection.groups if _attacked(group)]
    if not groups:
        return None
    says = [
        "From the top: the picture, what the attack made of it, and the difference, magnified, on middle grey. "
        "Below stands the class of the picture; what the network takes it for before the attack, if that is another; "
        "and whether it is right afterwards."
    ]
    shown = groups[:_GROUPS]
    if len(groups) > len(shown):
        says.append(f"The first {len(shown)} of {len(groups)} configurations are shown.")
    count = _affordable([attacked for group in shown for attacked in _attacked(group)])
    exhibits = tuple(_exhibit(group, number, count) for number, group in enumerate(shown, 1))
    return Section(name="adversarial", title="Adversarial pictures", says=tuple(says), exhibits=exhibits)


def _attacked(group: Group) -> list[Attacked]:
    evidence = group.first.evidence
    found = [Attacked(evidence, about) for about in evidence.adversarial] if evidence else []
    return sorted((attacked for attacked in found if attacked.count), key=lambda one: ROLES.index(one.about.role))


def _affordable(attacked: list[Attacked]) -> int:
    """Return how many pictures of each attack the page has room for."""
    size = sum(3 * small(one.evidence.pictures[0]).size for one in attacked)
    return max(1, min(_PICTURES, _BUDGET // size))


def _exhibit(group: Group, number: int, count: int) -> Exhibit:
    found = _attacked(group)
    rows = [row for attacked in found for row in _rows(attacked)]
    heads = (
        "network",
        "attack",
        "picture",
        "class",
        "taken for, before",
        "afterwards",
        "largest change",
        "mean change",
    )
    return Exhibit(
        name=f"adversarial-{number}",
        caption=f"{group.name}, seed {group.seeds[0]}, eps {_eps(group)}.",
        data=Table(f"Changes of pixels, of 255: {group.name}", heads, tuple(rows)),
        strips=tuple(_strip(attacked, min(count, attacked.count)) for attacked in found),
    )


def _eps(group: Group) -> str:
    """Return the largest radius of the run, at which pictures are kept."""
    attacked = group.first.report.student.attacked.values()
    protocol = next((measured.protocol for measured in attacked if measured.protocol), None)
    return str(protocol.eps) if protocol else group.first.settings.get("eps", "none")


def _strip(attacked: Attacked, count: int) -> Strip:
    factor = magnification(max(int(attacked.change(place).max()) for place in range(count)))
    words = f"{attacked.about.role.capitalize()} under {attacked.about.what}; difference times {factor}"
    return Strip(words, tuple(_picture(attacked, place, factor) for place in range(count)))


def _picture(attacked: Attacked, place: int, factor: int) -> Picture:
    before, after = attacked.evidence.pictures[place], attacked.evidence.adversarial[attacked.about][place]
    drawn = stacked([small(before), small(after), small(magnified(before, after, factor))])
    label, taken, then = attacked.label(place), attacked.taken_for(place), attacked.withstood(place)
    words = [label, f"taken for {taken}" if taken not in (label, NOTHING) else "", then if then != NOTHING else ""]
    return Picture(data_uri(drawn), ", ".join(filter(None, words)))


def _rows(attacked: Attacked) -> Iterator[tuple[str, ...]]:
    for place in range(attacked.count):
        change = attacked.change(place)
        known = (attacked.label(place), attacked.taken_for(place), attacked.withstood(place))
        about = attacked.about
        yield (about.role, about.what, str(place + 1), *known, str(int(change.max())), f"{change.mean():.2f}")

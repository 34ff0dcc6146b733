"""Which network a transfer attack is crafted on: another of the run, a twin with another seed, or a brought one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import attrs
from torch import nn

from rcframe.api import Attack, Teacher
from rcframe.errors import RequestError, nearest
from rcframe.networks.modes import freeze

if TYPE_CHECKING:
    from rcframe.session.assemble import Parts
    from rcframe.session.config import RunConfig
    from rcframe.training.context import Run

Kind = Literal["teacher", "student", "twin", "run", "file"]
_KINDS: tuple[Kind, ...] = ("teacher", "student", "twin", "run", "file")


@attrs.frozen
class Surrogate:
    """Which network an attack is crafted on."""

    kind: Kind
    #: The seed of a twin, if one was named; the folder or file of a brought network.
    argument: str = ""

    @classmethod
    def parse(cls, text: str) -> Surrogate:
        """Read `teacher`, `student`, `twin`, `twin:SEED`, `run:FOLDER` or `file:PATH`."""
        kind, _, argument = text.partition(":")
        if kind not in _KINDS:
            raise RequestError(
                f"No network `{text}` to craft a transfer attack on.{nearest(kind, _KINDS)} Write teacher, student, "
                f"twin, twin:SEED, run:FOLDER or file:WEIGHTS."
            )
        found = cls(kind, argument)
        if found.brought != bool(argument) and kind != "twin":
            fix = f"`{kind}:PATH`" if found.brought else f"`{kind}` alone"
            raise RequestError(f"Cannot craft a transfer attack on `{text}`: write {fix}.")
        if kind == "twin" and argument and not argument.isdecimal():
            raise RequestError(
                f"The seed of a twin is `{argument}`, but it must be a whole number of 0 or more, as in `twin:7`."
            )
        return found

    @property
    def brought(self) -> bool:
        """Whether the network comes from a file."""
        return self.kind in ("run", "file")

    def seed(self, own: int) -> int:
        """Return the seed of a twin of a run that has the seed `own`."""
        return int(self.argument) if self.argument else own + 1


def check_surrogates(config: RunConfig, attacks: Sequence[Attack], teacher: Teacher) -> None:
    """Refuse transfer attacks whose source makes no sense in this run."""
    for spec in {attack.surrogate for attack in attacks if attack.surrogate is not None}:
        wanted = Surrogate.parse(spec)
        if wanted.kind != "twin":
            continue
        if wanted.seed(config.seed) == config.seed:
            raise RequestError(
                f"A twin with seed {config.seed} is the attacked network itself: give it another seed than the run."
            )
        if not teacher.trains:
            raise RequestError(
                f"The teacher `{config.teacher}` is not trained in this run, so it has no twin to craft a transfer "
                f"attack on. Craft it on the student or on a network from elsewhere: source=student, source=run:FOLDER."
            )


def bring(parts: Parts, run: Run) -> dict[str, nn.Module]:
    """Load the networks from elsewhere on which attacks are crafted, by how they were named."""
    specs = {attack.surrogate for attack in parts.attacks}
    brought = sorted(spec for spec in specs if spec is not None and Surrogate.parse(spec).brought)
    # What brings a teacher brings any network.
    makers = {spec: run.make(Teacher, spec) for spec in brought}  # type: ignore[type-abstract]  # any subclass
    return {spec: freeze(maker.network(run)) for spec, maker in makers.items()}

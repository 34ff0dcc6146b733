"""The networks whose outputs a page tells, each once, however many runs share it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.softness import Softness
from rcframe.findings.figures import ROLES, model_of
from rcframe.findings.folders import Group
from rcframe.reporting.chart import told_apart
from rcframe.reporting.naming import name_of
from rcframe.session.evidence import Role
from rcframe.session.outputs_report import Outputs


@attrs.frozen(eq=False)
class Network:
    """A network of some runs that differ in the seed only."""

    name: str
    role: Role
    #: The first group that has it.
    group: Group
    #: What its outputs give away, by the temperature at which they were softened: in each run. None is for runs that
    #: softened nothing.
    by_temperature: dict[float | None, tuple[Outputs, ...]]
    #: What else it is called in runs of which nothing else is told.
    also: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[Outputs, ...]:
        """What its outputs give away in each run of its group."""
        return next(iter(self.by_temperature.values()))

    @property
    def likenesses(self) -> tuple[Likeness, ...]:
        """How much it answers like its teacher in each run; nothing of a teacher."""
        return tuple(one.likeness for one in self.outputs if one.likeness)

    @property
    def calibrations(self) -> tuple[Calibration, ...]:
        """How well it is calibrated, in each run."""
        return tuple(one.calibration for one in self.outputs if one.calibration)

    @property
    def guarded(self) -> bool:
        """Whether something else leaves in the place of its answers."""
        return any(one.released for outputs in self.by_temperature.values() for one in outputs)

    def same_as(self, other: Network) -> bool:
        """Say whether both are one network by what they answer, whatever leaves and whoever the teacher is."""
        if self.role != other.role or self.calibrations != other.calibrations:
            return False
        heats = self.by_temperature.keys() & other.by_temperature.keys()
        if any(_softness(self.by_temperature[heat]) != _softness(other.by_temperature[heat]) for heat in heats):
            return False
        return bool(self.calibrations or heats)

    def joined(self, other: Network) -> Network | None:
        """Return it with what is told of another; None if that is another network, or has another name."""
        if self.role == other.role and other.by_temperature.items() <= self.by_temperature.items():
            # All that is told of the other is told of this one, whatever the two are called.
            known = (self.name, *self.also)
            return self if other.name in known else attrs.evolve(self, also=(*self.also, other.name))
        alike = (self.role, self.name) == (other.role, other.name)
        if not alike or _unsoftened(self.outputs) != _unsoftened(other.outputs):
            return None
        clash = self.by_temperature.keys() & other.by_temperature.keys()
        return None if clash else attrs.evolve(self, by_temperature={**self.by_temperature, **other.by_temperature})


def networks(groups: Sequence[Group]) -> list[Network]:
    """Return the teachers, then the students; different ones that were asked for alike are told apart."""
    known = [group for group in groups if model_of(group.first.report, "student").outputs != Outputs()]
    found: list[Network] = []
    for role in ROLES:
        for group in known:
            _add(_of_group(group, known, role), found)
    return _told_apart(found)


def _add(network: Network, found: list[Network]) -> None:
    for place, one in enumerate(found):
        if joined := one.joined(network):
            found[place] = joined
            return
    found.append(network)


def _of_group(group: Group, known: Sequence[Group], role: Role) -> Network:
    outputs = tuple(model_of(run.report, role).outputs for run in group.runs)
    softness = outputs[0].softness
    heat = None if softness is None else softness.temperature
    return Network(name_of(group, known, role), role, group, {heat: outputs})


def _told_apart(found: Sequence[Network]) -> list[Network]:
    names = [one.name for one in found]
    where = [one.name if names.count(one.name) == 1 else f"{one.name}, in {one.group.name}" for one in found]
    return [attrs.evolve(one, name=name) for one, name in zip(found, told_apart(where), strict=True)]


def _softness(outputs: Sequence[Outputs]) -> list[Softness | None]:
    return [one.softness for one in outputs]


def _unsoftened(outputs: Sequence[Outputs]) -> list[Outputs]:
    return [attrs.evolve(one, softness=None, released=None) for one in outputs]

"""A teacher of several networks that answer together."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import attrs
from torch import nn

import rcframe
from rcframe import (
    Architecture,
    Component,
    GuardedTeacher,
    Model,
    Optimization,
    RequestError,
    Run,
    Stage,
    Teacher,
    Training,
    at_least,
    component,
    option,
)
from rcframe_ensemble.model import EnsembleModel, in_turn
from rcframe_ensemble.network import Average, EnsembleNetwork


@component
class EnsembleTeacher(Teacher):
    """Several networks, each trained as another teacher is, that answer together.

    Every member has a seed of its own, so that its first weights and the order of its images differ; what the other
    teacher draws besides, such as a `fraction` of the images, differs too. After Hansen and Salamon: "Neural Network
    Ensembles" (1990); as a teacher, Hinton, Vinyals, Dean: "Distilling the Knowledge in a Neural Network" (2015).
    """

    teacher: str = option(
        default="plain",
        help="How every member is trained: a teacher, as a spec string; in parentheses if it has commas.",
        positional=True,
    )
    members: int = option(default=3, help="Number of members.", check=at_least(1))
    models: str | None = option(
        default=None,
        help="Models that the members take in turn, as spec strings with a semicolon between them, in parentheses; "
        "none is the run's model.",
    )
    average: Average = option(default="logits", help="What is averaged over the members.")

    def __attrs_post_init__(self) -> None:
        if isinstance(self.inner, GuardedTeacher):
            raise RequestError(
                f"The members of an ensemble cannot each be `{self.teacher}`, which only changes what another teacher "
                f"answers: put it around the ensemble, with the option `teacher` of the former."
            )
        if isinstance(self.inner, EnsembleTeacher):
            raise RequestError("The members of an ensemble cannot be ensembles: ask for more `members` instead.")
        if not self.inner.trains:
            raise RequestError(
                f"The members of an ensemble cannot each be `{self.teacher}`, since all would be the same network: "
                f"name a teacher that is trained in the run."
            )
        self._specs()

    @functools.cached_property
    def inner(self) -> Teacher:
        """The teacher that every member is trained as."""
        return rcframe.teacher(self.teacher)

    def parts(self) -> tuple[Component, ...]:
        """Return what the members are trained by and built of."""
        models: list[Model] = [] if self.models is None else [rcframe.model(spec) for spec in self._specs() if spec]
        return (self.inner, *self.inner.parts(), *(part for model in models for part in (model, *model.parts())))

    def network(self, run: Run) -> nn.Module:
        """Return all members, each from first weights of its own, as one network."""
        return EnsembleNetwork([self._member(each) for each in self._runs(run)], self.average)

    def becomes(self, trained: Architecture) -> Architecture:
        """Return the model `ensemble` of the members, each spelled out."""
        specs = [trained.model if spec is None else rcframe.spelled(rcframe.model(spec)) for spec in self._specs()]
        built = [self.inner.becomes(attrs.evolve(trained, model=spec)).model for spec in specs]
        models = built[:1] if len(set(built)) == 1 else built
        ensemble = EnsembleModel(models=";".join(models), members=self.members, average=self.average)
        return attrs.evolve(trained, model=rcframe.spelled(ensemble))

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train one member after the other; what is left is all of them."""
        assert isinstance(network, EnsembleNetwork)
        for number, each in enumerate(self._runs(run)):
            trained = network.members[number]
            for stage in self.inner.plan(trained, each):
                trained = stage.outcome
                stage.whole = network
                yield stage
            network.members[number] = trained

    def _member(self, run: Run) -> nn.Module:
        """Return the untrained network of a member, after a look at whether it can be trained."""
        network = self.inner.network(run)
        if isinstance(self.inner, Optimization):
            self.inner.check_run(run)
        attack = self.inner.inner_attack() if isinstance(self.inner, Training) else None
        if attack and (reason := attack.unsupported(network)):
            raise RequestError(
                f"The members of an ensemble cannot be trained as `{self.teacher}`, whose attack cannot attack this "
                f"network in training: {reason}."
            )
        return network

    def _runs(self, run: Run) -> list[Run]:
        """Return the run of every member."""
        return [run.member(f"member-{number}", spec) for number, spec in enumerate(self._specs(), start=1)]

    def _specs(self) -> list[str | None]:
        """Return the spec string of every member's model; None is the run's."""
        if self.models is None:
            return [None] * self.members
        return [*in_turn(self.models, self.members)]

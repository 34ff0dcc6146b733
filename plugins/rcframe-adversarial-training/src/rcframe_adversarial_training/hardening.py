"""What all methods of adversarial training have in common: a radius, an inner attack, and two roles."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

from torch import nn

from rcframe import (
    Access,
    Climb,
    Data,
    InnerAttack,
    Norm,
    Optimization,
    Oracle,
    RequestError,
    Run,
    Stage,
    StudentStrategy,
    Teacher,
    Threat,
    at_least,
    component,
    make_threat,
    more_than,
    option,
)


@component
class Hardening(Optimization, ABC):
    """A method that trains a network on images it attacks itself, with true labels and without any teacher."""

    eps: float | None = option(
        default=None,
        help="Radius in pixels; none is the data set's customary one, which is for linf.",
        check=at_least(0),
    )

    def __attrs_post_init__(self) -> None:
        """Refuse a radius that makes no sense."""
        self.threat(0.0)

    @property
    def metric(self) -> Norm:
        """The norm in which the radius is measured."""
        return "linf"

    @abstractmethod
    def stages(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Yield the stages that train `network`."""

    def threat(self, customary: float) -> Threat:
        """Return the threat to train against; `customary` is the data set's radius."""
        if self.eps is None and self.metric != "linf":
            raise RequestError(
                f"`{type(self).__name__}` has no radius in {self.metric}, since the data set's customary one is for "
                f"linf: set `eps`."
            )
        return make_threat(customary if self.eps is None else self.eps, self.metric)


@component
class Iterated(Hardening):
    """A method whose inner attack takes several steps."""

    norm: Norm = option(default="linf", help="Norm of the radius.")
    steps: int = option(default=10, help="Steps of the inner attack.", check=at_least(1))
    step_size: float | None = option(
        default=None, help="Length of a step in pixels; none is eps / 4.", check=more_than(0)
    )
    mode: Literal["eval", "train"] = option(
        default="eval", help="Whether batch norm and dropout evaluate or train inside the inner attack."
    )

    @property
    def metric(self) -> Norm:
        """The norm in which the radius is measured."""
        return self.norm

    def inner(
        self,
        network: nn.Module,
        run: Run,
        *,
        start: Literal["uniform", "gaussian"] = "gaussian",
        away_from: Literal["labels", "answers"] = "labels",
    ) -> InnerAttack:
        """Return the inner attack on `network`."""
        climb = Climb(steps=self.steps, step_size=self.step_size, start=start, away_from=away_from)
        return InnerAttack(attack=climb, network=network, threat=self.threat(run.info.eps), mode=self.mode)


class HardTeacher(Hardening, Teacher):
    """A method in the role of a teacher."""

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train the teacher."""
        return self.stages(network, run)


class HardStudent(Hardening, StudentStrategy):
    """A method in the role of a student, which never asks its teacher."""

    access = Access.NONE
    data = Data.LABELLED

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train the student."""
        return self.stages(student, run)

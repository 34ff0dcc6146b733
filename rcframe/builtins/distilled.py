"""A teacher that was a student itself: what passes from one generation to the next."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

from torch import nn

from rcframe.access import Access, describe_access, parse_access
from rcframe.api import Component, Data, StudentStrategy, Teacher
from rcframe.choice import parse_choice
from rcframe.errors import RequestError
from rcframe.guarding import guard_parts, guarded_oracle, trained_part
from rcframe.networks.modes import freeze
from rcframe.options import component, option
from rcframe.registry import registry
from rcframe.seeding import derive
from rcframe.storage.code import code_of
from rcframe.storage.state_file import digest_state
from rcframe.training.context import Owner, Run
from rcframe.training.settings import Optimization, Training, unattackable
from rcframe.training.stage import Stage

if TYPE_CHECKING:
    from rcframe.networks.weights import Architecture


@component
class DistilledTeacher(Teacher):
    """The student of another teacher. Added in API 1.4.

    The first teacher is trained, or brought, as it would be alone, and shared with runs in which it is. Its pupil, the
    run's model, learns through an oracle of it: what guards its answers guards them here too. Only the pupil is left
    in the end. The first teacher may be the student of another one itself.
    """

    teacher: str = option(default="plain", help="The first teacher, as a spec string; in parentheses if it has commas.")
    student: str = option(
        default="", help="How its pupil learns: a student strategy, as a spec string; in parentheses if it has commas."
    )
    model: str = option(default="same", help="Network of the first teacher; `same` takes the run's.")
    access: str = option(default="logit", help="What the pupil may ask of the first teacher, as in --access.")

    def __attrs_post_init__(self) -> None:
        # Whatever is unknown is refused here, when the components of a run are made.
        self.parts()
        missing = self.strategy.access & ~self._granted
        if missing:
            raise RequestError(
                f"The pupil of a `distilled` teacher, by `{self.student}`, needs {describe_access(missing)} from the "
                f"first teacher; access={self.access} grants {describe_access(self._granted)}. Grant more, for "
                f"example access=white."
            )

    @functools.cached_property
    def inner(self) -> Teacher:
        """The first teacher."""
        return cast(Teacher, registry().make("teacher", parse_choice(self.teacher, "teacher")))

    @functools.cached_property
    def strategy(self) -> StudentStrategy:
        """How the pupil learns."""
        if not self.student:
            raise RequestError(
                "A `distilled` teacher needs to know how it learns: name a student strategy, as in "
                "`distilled:student=NAME,teacher=NAME`."
            )
        return cast(StudentStrategy, registry().make("student", parse_choice(self.student, "student")))

    @property
    def generation(self) -> int:
        """How many teachers came before this one."""
        first = trained_part(self.inner)
        return 1 + (first.generation if isinstance(first, DistilledTeacher) else 0)

    @property
    def _granted(self) -> Access:
        return parse_access(self.access)

    def parts(self) -> tuple[Component, ...]:
        """Return what this teacher is made of."""
        return (self.inner, *self.inner.parts(), self.strategy, *self.strategy.parts())

    def network(self, run: Run) -> nn.Module:
        """Return the pupil, after a look at whether it can learn from the first teacher."""
        # Under a name of its own, since a pupil that starts where its teacher started is hardly one.
        pupil, first_run = run.network(f"pupil-{self.generation}"), self._first(run)
        first = self.inner.network(first_run)
        self._check_images(run, first_run)
        self._check_networks(pupil, first)
        return pupil

    def becomes(self, trained: Architecture) -> Architecture:
        """Return what the finished pupil is built from."""
        return self.strategy.becomes(trained)

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train the first teacher, then its pupil `network`."""
        first_run = self._first(run)
        first = self.inner.network(first_run)
        for stage in self.inner.plan(first, first_run):
            stage.owner = stage.owner or Owner(self.inner, first_run)
            # Asked before the stage is handed on: whoever gets it may add to what is left.
            first = stage.outcome
            yield stage
        freeze(first)
        seed = derive(run.seed, "generation", self.generation)
        oracle = guarded_oracle(self.inner, first, self._granted, seed, run.compute)
        learned_from = _learned_from(self.inner, first)
        for stage in self.strategy.plan(network, oracle, run.reading(self.strategy.data)):
            stage.determined_by = {**stage.determined_by, **learned_from}
            stage.players["queries to the first teacher"] = oracle.queries
            yield stage

    def _first(self, run: Run) -> Run:
        """Return the side of the run on which the first teacher is trained."""
        return run.apart(run.model if self.model == "same" else parse_choice(self.model, "model"))

    def _check_images(self, run: Run, first_run: Run) -> None:
        """Refuse methods that ask for what the data set lacks."""
        first = trained_part(self.inner)
        if isinstance(first, Optimization):
            first.check_run(first_run)
        if isinstance(self.strategy, Optimization):
            self.strategy.check_run(run.reading(self.strategy.data))

    def _check_networks(self, pupil: nn.Module, first: nn.Module) -> None:
        if reason := self.strategy.unsupported(pupil):
            raise self._refused("train this network", reason)
        if reason := self.strategy.mismatch(pupil, first):
            raise self._refused(f"learn from `{self.teacher}`", reason)
        if isinstance(self.strategy, Training) and self.strategy.attack and self.strategy.data is Data.NONE:
            raise unattackable(self.strategy.attack)
        for method, network in ((self.strategy, pupil), (trained_part(self.inner), first)):
            attack = method.inner_attack() if isinstance(method, Training) else None
            if attack and (reason := attack.unsupported(network)):
                raise RequestError(
                    f"The attack in the training of {method.kind} `{registry().choice_of(method).name}`, in a "
                    f"`distilled` teacher, cannot attack this network: {reason}."
                )

    def _refused(self, what: str, reason: str) -> RequestError:
        return RequestError(f"The pupil of a `distilled` teacher, by `{self.student}`, cannot {what}: {reason}.")


def _learned_from(teacher: Teacher, network: nn.Module) -> Mapping[str, str]:
    """Return what a pupil depends on besides its own training: the finished network of its teacher, and its guard."""
    code = code_of(type(part).__module__ for part in network.modules()) or {}
    return {
        "first teacher": digest_state({"layers": str(network), "weights": network.state_dict()}),
        **{f"code of {name}": digest for name, digest in code.items()},
        **guard_parts(teacher),
    }

"""Teachers that defend themselves in what they answer: the network stays as it is, its outputs change on their way out.

The defence stands at the oracle, so whoever asks meets it: a student, a black-box attack, a data-free extraction.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar, cast

from attrs import evolve

from rcframe.api import Component, Teacher
from rcframe.choice import Choice, format_choice, parse_choice
from rcframe.options import component, option
from rcframe.registry import registry
from rcframe.seeding import derive, generator

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from rcframe.access import Access
    from rcframe.evaluation.oracle import ModelOracle, Release
    from rcframe.networks.weights import Architecture
    from rcframe.training.compute import Compute
    from rcframe.training.context import Run
    from rcframe.training.stage import Stage


@component
class GuardedTeacher(Teacher):
    """A teacher around another one, whose answers it changes. Added in API 1.4.

    A subclass implements `guard`. The teacher inside is trained, or brought, as it would be alone.
    """

    teacher: str = option(
        default="plain",
        help="The teacher behind the defence, as a spec string; in parentheses if it has commas.",
        positional=True,
    )

    #: Whether the same image gets the same answer whenever it is asked for, as far as this defence decides.
    repeatable: ClassVar[bool] = True

    def __attrs_post_init__(self) -> None:
        # What the kernel asks of a class, it finds on this one object.
        object.__setattr__(self, "trains", self.inner.trains)

    @functools.cached_property
    def inner(self) -> Teacher:
        """The teacher behind the defence."""
        return cast(Teacher, registry().make("teacher", parse_choice(self.teacher, "teacher")))

    @abstractmethod
    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        """Return what leaves in the place of `logits` (B, classes), as logits: -inf for a probability of zero.

        `images` (B, C, H, W) is what was asked. `randomness`, on the CPU, is the only source of chance: it starts anew
        for every query, and from the same state in all of them if the defence is `repeatable`.
        """

    def released(self, logits: Tensor, images: Tensor, seed: int, query: int) -> Tensor:
        """Return what leaves in answer to a query, by its number; the defence of a teacher inside comes first."""
        if isinstance(self.inner, GuardedTeacher):
            logits = self.inner.released(logits, images, derive(seed, "inside"), query)
        return self.guard(logits, images, generator(seed, *(() if self.repeatable else (query,))))

    def repeats(self) -> bool:
        """Say whether the same image gets the same answer whenever it is asked for, all defences together."""
        return self.repeatable and (not isinstance(self.inner, GuardedTeacher) or self.inner.repeats())

    def described(self) -> str:
        """Write this defence as a spec string, without what is inside."""
        choice = registry().choice_of(self)
        return format_choice(evolve(choice, options={k: v for k, v in choice.options.items() if k != "teacher"}))

    def network(self, run: Run) -> nn.Module:
        """Return the network of the teacher inside."""
        return self.inner.network(run)

    def brought(self) -> Architecture | None:
        """Describe the network of the teacher inside, if that is not the run's model."""
        return self.inner.brought()

    def becomes(self, trained: Architecture) -> Architecture:
        """Return what the finished teacher inside is built from."""
        return self.inner.becomes(trained)

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        """Train the teacher inside."""
        return self.inner.plan(network, run)

    def unsupported(self, module: nn.Module) -> str | None:
        """Say why the teacher inside cannot work with a network."""
        return self.inner.unsupported(module)

    def parts(self) -> tuple[Component, ...]:
        """Return what this teacher is made of."""
        return (self.inner, *self.inner.parts())


def trained_part(teacher: Teacher) -> Teacher:
    """Return the teacher that does the training, without what only guards its answers."""
    while isinstance(teacher, GuardedTeacher):
        teacher = teacher.inner
    return teacher


def trained_choice(choice: Choice, teacher: Teacher) -> Choice:
    """Return how the teacher that does the training was chosen, given how the whole was."""
    trained = trained_part(teacher)
    return choice if trained is teacher else registry().choice_of(trained)


def guards_of(teacher: Teacher) -> tuple[GuardedTeacher, ...]:
    """Return the defences around a teacher, the outermost first."""
    guards = []
    while isinstance(teacher, GuardedTeacher):
        guards.append(teacher)
        teacher = teacher.inner
    return tuple(guards)


def release_of(teacher: Teacher, seed: int, compute: Compute) -> Release | None:
    """Return what a teacher's defences make of its answers; None without any."""
    if not isinstance(teacher, GuardedTeacher):
        return None

    def release(logits: Tensor, images: Tensor, query: int) -> Tensor:
        # A number that no other process has for any of its queries.
        return teacher.released(logits, images, derive(seed, "guard"), query * compute.count + compute.index)

    return release


def guarded_oracle(
    teacher: Teacher, network: nn.Module, access: Access, seed: int, compute: Compute, budget: int | None = None
) -> ModelOracle:
    """Return the finished `network` of a teacher as others may ask it: behind an access level and its defences."""
    from rcframe.evaluation.oracle import ModelOracle

    release = release_of(teacher, seed, compute)
    repeatable = not isinstance(teacher, GuardedTeacher) or teacher.repeats()
    return ModelOracle(network, access, budget, release, repeatable)


def guard_parts(teacher: Teacher) -> Mapping[str, str]:
    """Return what the defences of a teacher contribute to whatever is learned from its answers."""
    from rcframe.storage.code import code_of

    guards = guards_of(teacher)
    if not guards:
        return {}
    code = code_of(type(guard).__module__ for guard in guards) or {}
    return {
        "guard": " around ".join(guard.described() for guard in guards),
        **{f"code of {name}": digest for name, digest in code.items()},
    }

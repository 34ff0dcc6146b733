"""Pupils of pupils: networks that learn one after the other, each from the one before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from torch import nn

from rcframe.access import Access
from rcframe.networks.modes import freeze

if TYPE_CHECKING:
    from rcframe.evaluation.oracle import Oracle
    from rcframe.training.context import Run
    from rcframe.training.stage import Stage

F = TypeVar("F")


def generations(
    run: Run,
    student: nn.Module,
    names: Sequence[str],
    lesson: Callable[[nn.Module, Oracle | F, str], Stage],
    first: F,
) -> Iterator[Stage]:
    """Yield the stages of a network for each of `names`, which starts afresh, and last of `student`.

    `lesson(network, before, name)` writes one stage. `before` answers with the logits of the network that learned last,
    which is frozen by then, and is `first` for the first one: the teacher of the run, or None for labels alone. Added
    in API 1.4.
    """
    from rcframe.evaluation.oracle import ModelOracle

    before: Oracle | F = first
    for name in names:
        network = run.network(name)
        yield lesson(network, before, name)
        before = ModelOracle(freeze(network), Access.LOGIT)
    yield lesson(student, before, "train")

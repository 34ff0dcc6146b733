"""What the loops of training and evaluation are told to keep, so that nothing is computed twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol


class Work(Protocol):
    """A piece of work that can be stopped anywhere and continued: a stage, or a measurement."""

    @property
    def name(self) -> str:
        """Unique within a run."""

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines the result, as far as the work itself knows; None where that cannot be told."""

    def check(self) -> None:
        """Raise `RunFailed` if the state is not worth keeping."""

    def state_dict(self) -> Mapping[str, object]:
        """Return everything that moves."""

    def final_state(self) -> Mapping[str, object]:
        """Return the part of the finished state that later work may need."""

    def load_state_dict(self, state: Mapping[str, object], /) -> None:
        """Go on from either state."""


class Keeper:
    """Keeps work; this one keeps nothing, and the keeper of a run overrides it."""

    @contextmanager
    def keeping(self, work: Work) -> Iterator[bool]:
        """Put `work` where it was left; the value says whether it is finished. At the end, keep the result."""
        yield False

    def progressed(self, work: Work) -> None:
        """Keep the state of unfinished work if it is time to, and stop the run if that was asked for."""

"""Watching a run: what the display, the journal and the log are told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rcframe.training.stage import Stage


class Monitor:
    """Is told what happens; every method does nothing unless overridden. It must not change what it sees."""

    def stage_started(self, stage: Stage) -> None:
        """A stage is about to train."""

    def batch_done(self, stage: Stage, images: int) -> None:
        """A batch of `images` images has been stepped on."""

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """An epoch is over; `stage.epoch` is still its number, counted from 0."""

    def stage_done(self, stage: Stage) -> None:
        """A stage is over."""

    def stage_recalled(self, stage: Stage) -> None:
        """A stage was trained before, here or elsewhere; `stage.history` has its metrics."""

    def measuring(self, what: str, images: int) -> None:
        """A measurement on `images` images starts."""

    def measured(self, images: int) -> None:
        """`images` further images of the measurement are done."""

    def said(self, text: str) -> None:
        """The run has something to tell its user."""

    def closed(self) -> None:
        """The run is over, well or badly."""


class Monitors(Monitor):
    """Tells several monitors."""

    def __init__(self, members: Iterable[Monitor]) -> None:
        self._members = tuple(members)

    def stage_started(self, stage: Stage) -> None:
        """Pass on."""
        for member in self._members:
            member.stage_started(stage)

    def batch_done(self, stage: Stage, images: int) -> None:
        """Pass on."""
        for member in self._members:
            member.batch_done(stage, images)

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Pass on."""
        for member in self._members:
            member.epoch_done(stage, metrics)

    def stage_done(self, stage: Stage) -> None:
        """Pass on."""
        for member in self._members:
            member.stage_done(stage)

    def stage_recalled(self, stage: Stage) -> None:
        """Pass on."""
        for member in self._members:
            member.stage_recalled(stage)

    def measuring(self, what: str, images: int) -> None:
        """Pass on."""
        for member in self._members:
            member.measuring(what, images)

    def measured(self, images: int) -> None:
        """Pass on."""
        for member in self._members:
            member.measured(images)

    def said(self, text: str) -> None:
        """Pass on."""
        for member in self._members:
            member.said(text)

    def closed(self) -> None:
        """Pass on."""
        for member in self._members:
            member.closed()

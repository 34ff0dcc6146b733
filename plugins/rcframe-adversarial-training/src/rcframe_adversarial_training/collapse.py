"""Noticing that training on single steps has collapsed: single steps find nothing any more, and several do."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn

from rcframe import Attack, Batch, Climb, InnerAttack, Observer, Run, Stage, Threat, evaluating

#: So much less accurate under several steps than under one, at least, and less than this fraction of it.
_GAP = 0.4
_FRACTION = 0.25


def collapsed(single: float, iterated: float) -> bool:
    """Say whether accuracy under a single step and under several means that only single steps are withstood."""
    return single - iterated > _GAP and iterated < _FRACTION * single


class CollapseWatch(Observer):
    """Attacks some training images after the last update of every epoch, with one step and with several.

    Its measurements are metrics of the epoch. The first collapse is told; with `stop` the training ends there, with the
    weights of the last epoch before it.
    """

    def __init__(self, network: nn.Module, run: Run, threat: Threat, single: Attack, images: Batch, stop: bool) -> None:
        self._network, self._run, self._images, self._stop = network, run, images, stop
        several = Climb(steps=10)
        self._attacks = [InnerAttack(attack=each, network=network, threat=threat) for each in (single, several)]
        self._stage: Stage | None = None
        self._told = False
        self._last: int | None = None
        self._good: dict[str, Tensor] | None = None

    def begin(self, stage: Stage) -> None:
        """Remember the stage, which may have to end early."""
        self._stage = stage

    def look(self, stage: Stage) -> None:
        """Measure, once the last batch of an epoch has been learned."""
        if stage.batch + 1 < len(stage.batches):
            return
        # Of generators of its own, so that watching changes nothing, and is the same in every process.
        with self._run.seeded("collapse"):
            single, iterated = (self._accuracy(attack) for attack in self._attacks)
        stage.means.add("single_step_accuracy", single)
        stage.means.add("iterated_accuracy", iterated)
        self.judge(stage, single, iterated)

    def judge(self, stage: Stage, single: float, iterated: float) -> None:
        """Say so if the training has collapsed, and end it where that is wanted and some epoch was good."""
        if not collapsed(single, iterated):
            if self._stop:
                self._good = copy.deepcopy(self._network.state_dict())
            return
        ends = self._good is not None
        if not self._told:
            self._told = True
            stage.say(
                f"Stage `{stage.name}` collapsed in epoch {stage.epoch + 1}: of {len(self._images.labels)} training "
                f"images, {single:.0%} withstand a single step and {iterated:.0%} several. " + _what_now(ends)
            )
        if self._good is not None:
            self._network.load_state_dict(self._good)
            self._last = stage.epochs = stage.epoch + 1

    def _accuracy(self, attack: InnerAttack) -> float:
        x_adv = attack.craft(self._images.images, self._images.labels)
        with torch.no_grad(), evaluating(self._network):
            return float((self._network(x_adv).argmax(dim=1) == self._images.labels).float().mean())

    def state_dict(self) -> dict[str, object]:
        """Return what was told, where the training ends if early, and the weights to end with."""
        return {"told": self._told, "last": self._last, "good": self._good}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from what `state_dict` returned."""
        self._told = bool(state["told"])
        self._last = cast("int | None", state["last"])
        self._good = cast("dict[str, Tensor] | None", state["good"])
        if self._last is not None and self._stage is not None:
            self._stage.epochs = self._last


def _what_now(ends: bool) -> str:
    if ends:
        return "Training ends with the weights of the last epoch before."
    return "Its accuracy under single steps means nothing now: try a smaller step_size, fewer epochs, or stop=true."

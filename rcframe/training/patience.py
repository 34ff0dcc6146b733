"""Ending a stage that no longer gets better on images it does not learn from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import attrs
import torch
from torch import Tensor

from rcframe.errors import RequestError
from rcframe.networks.modes import evaluating
from rcframe.training.answers import Answers
from rcframe.training.observer import Observer
from rcframe.training.randomness import seeded

if TYPE_CHECKING:
    from rcframe.data.images import Images
    from rcframe.training.context import Run
    from rcframe.training.stage import Stage, Stateful

#: Images per forward pass.
_AT_ONCE = 256


@attrs.frozen(eq=False)
class Judge:
    """Counts how many validation images a network gets right, or as its teacher where they carry no labels."""

    images: Images
    #: The teacher's answers to these images; they stand in for labels.
    teacher: Answers | None = None

    @property
    def figure(self) -> str:
        """What the share of these images is called."""
        return "validation" if self.teacher is None else "agreement"

    def count(self, stage: Stage) -> int:
        """Return how many images the network that a stage leaves gets right; all processes count together."""
        own, right = stage.compute.part(len(self.images)), 0
        with evaluating(stage.left), torch.no_grad(), seeded(stage.seed, stage.name, "validation"):
            for places in torch.split(torch.arange(own.start, own.stop), _AT_ONCE):
                if len(places):
                    right += self._right(stage, places)
        return int(stage.compute.total(torch.tensor(right)))

    def _right(self, stage: Stage, places: Tensor) -> int:
        batch = self.images.fetch(places).to(stage.compute.device)
        wanted = batch.labels if self.teacher is None else self.teacher.top()[places.to(stage.compute.device)]
        return int((stage.left(batch.images).argmax(dim=1) == wanted).sum())


class Patience(Observer):
    """Ends a stage after `epochs` epochs in a row that bring nothing better, and gives back the best weights.

    The best weights are those of the first epoch with the best count. They are given back at the end of every stage,
    also of one that had all its epochs.
    """

    def __init__(self, epochs: int, judge: Judge) -> None:
        self.epochs, self.judge = epochs, judge
        self._most, self._best_epoch = -1, 0
        self._weights: Mapping[str, Mapping[str, Tensor]] = {}

    def measured(self, stage: Stage) -> Mapping[str, float]:
        """Judge the epoch that ends, and keep its weights if it is the best so far."""
        count = self.judge.count(stage)
        if count > self._most:
            self._most, self._best_epoch = count, stage.epoch
            self._weights = {"target": _copied(stage.target), "module": _copied(stage.module)}
        return {self.judge.figure: count / len(self.judge.images)}

    def epoch_end(self, stage: Stage, epoch: int) -> None:
        """End the stage if nothing got better for long enough."""
        planned = stage.epochs
        if epoch - self._best_epoch >= self.epochs:
            stage.end_here()
        if epoch + 1 < stage.epochs:
            return
        self._give_back(stage)
        share, best = self._most / len(self.judge.images), self._best_epoch + 1
        if epoch + 1 < planned:
            stage.say(
                f"{stage.name}: ended with epoch {epoch + 1} of {planned}, since {epoch + 1 - best} epochs brought no "
                f"better {self.judge.figure} than {share:.4g}; the weights are those of epoch {best}"
            )
        elif best < epoch + 1:
            stage.say(
                f"{stage.name}: the weights are those of epoch {best} of {planned}, with the best "
                f"{self.judge.figure}, {share:.4g}"
            )

    def _give_back(self, stage: Stage) -> None:
        stage.target.load_state_dict(self._weights["target"])
        stage.module.load_state_dict(self._weights["module"])
        # Nobody needs them any more, and the finished stage is kept with what its observers hold.
        self._weights = {}
        for observer in stage.observers:
            # What a pruner keeps at zero may not have been zero in that epoch.
            if observer is not self:
                observer.after_update(stage)

    def state_dict(self) -> dict[str, object]:
        """Return the best so far, and the teacher's share in judging it."""
        teacher = self.judge.teacher
        asked = {} if teacher is None else teacher.state_dict()
        return {"most": self._most, "best epoch": self._best_epoch, "weights": dict(self._weights), "asked": asked}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from the best so far."""
        self._most, self._best_epoch = cast(int, state["most"]), cast(int, state["best epoch"])
        self._weights = cast("Mapping[str, Mapping[str, Tensor]]", state["weights"])
        if self.judge.teacher is not None:
            self.judge.teacher.load_state_dict(cast("Mapping[str, object]", state["asked"]))


def judge_of(run: Run, players: Mapping[str, Stateful]) -> Judge:
    """Return who judges a stage by a run's validation images: their labels or, where those are hidden, the teacher."""
    images = run.data.validation
    assert images is not None, "checked before anything is trained"
    if images.labels is not None:
        return Judge(images)
    asked = next((player for player in players.values() if isinstance(player, Answers)), None)
    if asked is None:
        raise RequestError(
            "A method that reads no labels can only judge its epochs by a teacher's answers, and this one keeps none: "
            "leave out the option `patience`, or make its `Answers` a player of the stage."
        )
    return Judge(images, Answers(asked.oracle, images, run.compute))


def _copied(module: torch.nn.Module) -> Mapping[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

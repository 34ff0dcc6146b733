"""Finding out that a stage has broken down: a loss or a weight that is no number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rcframe.errors import RunFailed

if TYPE_CHECKING:
    from rcframe.training.stage import Stage

#: So many losses on a device are looked at together.
_UNREAD = 50


class Health:
    """Looks at the losses and weights of one stage."""

    def __init__(self) -> None:
        #: Losses on a device that were not looked at yet, with their epochs and batches.
        self._unread: list[tuple[int, int, Tensor]] = []

    def watch(self, stage: Stage, loss: Tensor) -> None:
        """Fail on a loss that is no number: at once on a CPU, else soon, since looking would wait for the device."""
        if loss.device.type == "cpu":
            _check_loss(stage, stage.epoch, stage.batch, loss)
            return
        self._unread.append((stage.epoch, stage.batch, loss.detach()))
        if len(self._unread) >= _UNREAD:
            self._read(stage)

    def check(self, stage: Stage) -> None:
        """Fail if any loss so far, or any weight, is no number."""
        self._read(stage)
        over = stage.epoch >= stage.epochs
        when = "its end" if over else f"epoch {stage.epoch + 1} of {stage.epochs}, batch {stage.batch}"
        for name, parameter in named_once(stage.target, stage.module):
            if not bool(torch.isfinite(parameter).all()):
                raise RunFailed(
                    f"Stage `{stage.name}` broke down by {when}: "
                    f"the weights `{name}` are no numbers any more. Try a lower learning rate (`lr`)."
                )

    def _read(self, stage: Stage) -> None:
        for epoch, batch, loss in self._unread:
            _check_loss(stage, epoch, batch, loss)
        self._unread.clear()


def _check_loss(stage: Stage, epoch: int, batch: int, loss: Tensor) -> None:
    value = loss.item()
    if math.isfinite(value):
        return
    metrics = ", ".join(f"{name} {mean:.4g}" for name, mean in _finite_metrics(stage).items())
    raise RunFailed(
        f"Stage `{stage.name}` broke down in epoch {epoch + 1} of {stage.epochs}, batch {batch + 1} of "
        f"{len(stage.batches)}: its loss is {value}. Last finite metrics: {metrics or 'none'}. "
        f"Try a lower learning rate (`lr`), or look for divisions and logarithms of zero in the method."
    )


def _finite_metrics(stage: Stage) -> dict[str, float]:
    """Return the metrics of this epoch so far or, if they are broken or absent, of the one before."""
    now = stage.means.read()
    usable = now and all(map(math.isfinite, now.values()))
    return now if usable else stage.history[-1] if stage.history else {}


def named_once(*modules: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield the parameters by name, each once."""
    seen: set[int] = set()
    for module in modules:
        for name, parameter in module.named_parameters():
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

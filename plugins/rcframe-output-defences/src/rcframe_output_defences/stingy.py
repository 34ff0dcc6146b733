"""The stingy teacher (Ma et al., 2022)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Generator, Tensor, nn

from rcframe import GuardedTeacher, RequestError, Run, at_least, between, component, option

#: Shares are typed as decimals, whose products fall short of whole numbers by rounding errors.
_ROUNDING = 1e-9


@component
class Stingy(GuardedTeacher):
    """Lets out the largest logits of every image and rules out all other classes.

    Ma et al.: "Stingy Teacher: Sparse Logits Suffice to Fail Knowledge Distillation" (2022). Nothing is trained again.
    A student that softens what it gets, as at temperature 20, spreads the probability over the few classes that are
    left. The top-1 class stays what it was.
    """

    ratio: float = option(
        default=0.1,
        help="Share of the classes whose logits leave, rounded down, at least one.",
        check=between(0, 1),
    )
    keep: int | None = option(default=None, help="How many logits leave, in the place of `ratio`.", check=at_least(1))

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "cifar10": {"ratio": 0.2},
        "cifar100": {"ratio": 0.1},
        "tiny-imagenet": {"ratio": 0.1},
    }

    def network(self, run: Run) -> nn.Module:
        """Return the network of the teacher inside; refuse to keep more logits than there are."""
        classes = len(run.info.classes)
        if self.keep is not None and self.keep > classes:
            raise RequestError(
                f"Teacher `stingy` is to let out {self.keep} logits (keep={self.keep}), but data set `{run.info.name}` "
                f"has {classes} classes: keep fewer than {classes}."
            )
        return super().network(run)

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        """Return `logits` (B, classes) with all but the largest at -inf."""
        return sparse_logits(logits, kept(logits.shape[1], self.keep, self.ratio))


def kept(classes: int, keep: int | None, ratio: float) -> int:
    """Return how many logits leave: `N = int(ratio * classes)`, at least 1, unless a number is given."""
    return max(1, math.floor(ratio * classes + _ROUNDING)) if keep is None else min(keep, classes)


def sparse_logits(logits: Tensor, keep: int) -> Tensor:
    """Return logits (B, classes) of which the `keep` largest of each image are as they were and all others -inf.

    Of equal ones those of the lower classes stay, as `argmax` has it.
    """
    order = logits.argsort(dim=1, descending=True, stable=True)
    return logits.scatter(1, order[:, keep:], -math.inf)

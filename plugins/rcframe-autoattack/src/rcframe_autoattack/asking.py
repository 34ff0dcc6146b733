"""What the package calls instead of a model: an oracle, asked only about images that still matter."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rcframe import Oracle

#: Maps images (B, C, H, W) to logits (B, classes).
Ask = Callable[[Tensor], Tensor]


class Asking:
    """An oracle as a function from images to logits.

    The package works in float32 whatever the images are, and writes into logits it was given.
    """

    def __init__(self, source: Oracle, dtype: torch.dtype) -> None:
        self._source, self._dtype = source, dtype

    def __call__(self, x: Tensor) -> Tensor:
        """Return logits (B, classes) of images (B, C, H, W), of the caller's own."""
        logits = self._source.logits(x.to(self._dtype)).float()
        return logits if logits.requires_grad else logits.clone()


class NothingLeft(Exception):
    """Every image is misclassified."""


class Survivors:
    """Asks about images (B, C, H, W) until they are misclassified, and keeps each as it was then.

    The rest of the batch goes on, so rows that need no asking get logits that are right and have no gradient.
    """

    def __init__(self, ask: Ask, x: Tensor, y: Tensor) -> None:
        self._ask, self._y = ask, y
        #: Which images (B,) were never misclassified.
        self.standing = torch.ones(len(y), dtype=torch.bool, device=x.device)
        #: The misclassified images, as first met; the others as they came.
        self.found = x.clone()

    def __call__(self, x: Tensor) -> Tensor:
        """Return logits (B, classes); raise `NothingLeft` once no image is standing."""
        rows = self.standing.nonzero().squeeze(1)
        if not len(rows):
            raise NothingLeft
        whole = len(rows) == len(x)
        logits = self._ask(x if whole else x[rows])
        fallen = rows[logits.detach().argmax(dim=1) != self._y[rows]]
        self.found[fallen] = x.detach()[fallen]
        self.standing[fallen] = False
        if whole:
            return logits
        right = torch.nn.functional.one_hot(self._y, logits.shape[1]).to(logits.dtype)
        return right.index_copy(0, rows, logits)

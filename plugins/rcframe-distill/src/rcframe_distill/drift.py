"""Crafted images that the next epoch goes on from, so that they drift away from the data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from rcframe import Batch, Compute, Images, InnerAttack


class Drift:
    """Where each of `images` has been moved to, carried from epoch to epoch.

    Crafting starts from there and is centred there: after n epochs an image may be n radii from where it was.
    """

    def __init__(self, images: Images, compute: Compute) -> None:
        self._images, self._compute = images, compute
        self._moved: Tensor | None = None

    def craft(self, inner: InnerAttack, batch: Batch, y: Tensor | None) -> Tensor:
        """Return what is crafted from where the images of a batch are by now, (B, C, H, W), and leave them there."""
        assert batch.index is not None, "images that something changes are refused before training"
        index = batch.index.cpu()
        everywhere = self._all()
        crafted = inner.craft(everywhere[index].to(batch.images), y)
        # An image may be in another process's part of the next epoch.
        for theirs, moved in self._compute.gather((index, crafted.cpu())):
            everywhere[theirs] = moved
        return crafted

    def _all(self) -> Tensor:
        if self._moved is None:
            self._moved = self._images.fetch(torch.arange(len(self._images))).images.clone()
        return self._moved

    def state_dict(self) -> dict[str, object]:
        """Return the images (N, C, H, W) as they are by now; None before the first batch."""
        return {"moved": self._moved}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from where the images were."""
        moved = cast("Tensor | None", state["moved"])
        self._moved = None if moved is None else moved.cpu().clone()

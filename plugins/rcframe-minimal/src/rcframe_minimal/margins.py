"""What the attacks of this plugin share."""

from __future__ import annotations

from torch import Tensor


def lead(logits: Tensor, y: Tensor) -> Tensor:
    """Return by how much the logits (B, classes) of the labels `y` (B,) exceed the largest others: (B,)."""
    own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
    return own - logits.scatter(1, y.unsqueeze(1), float("-inf")).amax(dim=1)


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Return values (B,) in a shape that goes with images (B, ...)."""
    return values.view(-1, *[1] * (images.dim() - 1))

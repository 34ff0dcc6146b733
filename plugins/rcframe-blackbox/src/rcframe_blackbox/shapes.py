"""One number per image, beside images."""

from __future__ import annotations

from torch import Tensor


def per_image(values: Tensor, images: Tensor) -> Tensor:
    """Return values (B,) in a shape that goes with images (B, ...)."""
    return values.view(-1, *[1] * (images.dim() - 1))


def unit(images: Tensor) -> Tensor:
    """Return images (B, ...) scaled to length 1 each; those that are 0 stay so."""
    return images / per_image(images.flatten(1).norm(dim=1).clamp_min(1e-12), images)

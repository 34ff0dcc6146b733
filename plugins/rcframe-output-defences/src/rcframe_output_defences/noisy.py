"""Noise on what a teacher answers."""

from __future__ import annotations

import hashlib
from typing import Literal

import torch
from torch import Generator, Tensor

from rcframe import GuardedTeacher, at_least, component, option
from rcframe_output_defences.answers import as_logits, top_alone_in_single, top_swapped

Distribution = Literal["gaussian", "laplace"]


@component
class Noisy(GuardedTeacher):
    """Adds noise to the logits or probabilities that leave.

    No paper's method: the plainest way to perturb outputs without training. With `repeat` an image gets the same noise
    whenever it is asked for, so that asking again is of no use; it is a function of the image's pixels and the seed.
    """

    scale: float = option(
        default=1.0,
        help="Size of the noise: the standard deviation of `gaussian`, the mean absolute value of `laplace`.",
        check=at_least(0),
    )
    distribution: Distribution = option(default="gaussian", help="How the noise is distributed.")
    on: Literal["logits", "probabilities"] = option(
        default="logits", help="What the noise is added to; probabilities below 0 become 0."
    )
    repeat: bool = option(default=True, help="Whether the same image gets the same noise whenever it is asked for.")
    keep_top: bool = option(
        default=True, help="Whether the top-1 class stays: it swaps values with the one that got ahead of it."
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        # What the kernel asks of a class, it finds on this one object.
        object.__setattr__(self, "repeatable", self.repeat)

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        """Return `logits` (B, classes) with noise on them, or on their probabilities."""
        if self.repeat:
            drawn = noise_of_images(images, logits.shape[1], self.distribution, randomness.initial_seed())
        else:
            drawn = noise(logits.shape, self.distribution, randomness)
        top, added = logits.argmax(dim=1), self.scale * drawn.to(logits.device)
        if self.on == "logits":
            return self._settled(logits.double() + added, top)
        p = (logits.double().softmax(dim=1) + added).clamp_min(0)
        # Where the noise left nothing, the top-1 class is all there is to say.
        nothing = p.sum(dim=1) == 0
        p[nothing, top[nothing]] = 1.0
        return self._settled(as_logits(p), top)

    def _settled(self, moved: Tensor, top: Tensor) -> Tensor:
        return top_alone_in_single(top_swapped(moved, top), top) if self.keep_top else moved.float()


def noise(shape: torch.Size, distribution: Distribution, randomness: Generator) -> Tensor:
    """Draw float64 noise of scale 1, on the CPU."""
    if distribution == "gaussian":
        return torch.randn(shape, dtype=torch.float64, generator=randomness)
    # The difference of two exponential variables; unlike a logarithm of uniform ones, it is always finite.
    first, second = (torch.empty(shape, dtype=torch.float64).exponential_(generator=randomness) for _ in range(2))
    return first - second


def noise_of_images(images: Tensor, classes: int, distribution: Distribution, secret: int) -> Tensor:
    """Draw noise (B, classes) of scale 1 that is a function of each image of (B, C, H, W) and the secret."""
    rows = []
    for image in images.detach().float().cpu():
        digest = hashlib.sha256(f"{secret} ".encode() + image.contiguous().numpy().tobytes()).digest()
        seed = int.from_bytes(digest[:8], "big") >> 1
        rows.append(noise(torch.Size([classes]), distribution, Generator().manual_seed(seed)))
    return torch.stack(rows) if rows else torch.zeros(0, classes, dtype=torch.float64)

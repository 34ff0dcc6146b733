"""What is found out about a batch of images at once."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor


@attrs.frozen(eq=False)
class Moved:
    """How far images (B,) were moved, in both norms; 0 for those that withstood or were wrong before: float32."""

    linf: Tensor
    l2: Tensor

    @classmethod
    def of(cls, x_adv: Tensor, x: Tensor, broken: Tensor) -> Moved:
        """Measure those of the images (B, C, H, W) that were broken (B,)."""
        step = (x_adv - x).flatten(1).float()
        return cls(step.abs().amax(dim=1).where(broken, 0), torch.linalg.vector_norm(step, dim=1).where(broken, 0))


@attrs.frozen(eq=False)
class Verdict:
    """Which images (B,) are right, with more where there is more to say."""

    right: Tensor
    #: The predicted classes (B,), -1 where an output was no number.
    answers: Tensor | None = None
    #: What was judged (B, C, H, W) if that is not the images themselves.
    judged: Tensor | None = None
    moved: Moved | None = None
    #: The outputs of the network (B, classes), where they are kept.
    logits: Tensor | None = None

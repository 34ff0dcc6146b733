"""Fewer digits in what a teacher answers."""

from __future__ import annotations

from typing import Literal

from torch import Generator, Tensor

from rcframe import GuardedTeacher, between, component, option
from rcframe_output_defences.answers import as_logits, top_alone_in_single, top_raised


@component
class Rounded(GuardedTeacher):
    """Rounds the probabilities or logits that leave, as a service may that shows a few digits.

    No paper's method: the plainest way to say less without training. What rounds to a probability of 0 is ruled out.
    The top-1 class stays what it was: where others round to the same, it gets one unit of the last digit more.
    """

    decimals: int = option(default=2, help="Digits after the point that are left.", check=between(0, 12))
    on: Literal["probabilities", "logits"] = option(default="probabilities", help="What is rounded.")

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        """Return `logits` (B, classes), or the logarithms of their probabilities, of fewer digits."""
        top, unit = logits.argmax(dim=1), 10.0**-self.decimals
        exact = logits.double() if self.on == "logits" else logits.double().softmax(dim=1)
        rounded = top_raised(exact.round(decimals=self.decimals), top, unit)
        return top_alone_in_single(rounded if self.on == "logits" else as_logits(rounded), top)

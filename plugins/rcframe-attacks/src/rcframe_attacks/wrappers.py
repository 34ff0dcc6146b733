"""Attacks around others: averaged over a model's randomness, and crafted on another network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rcframe import (
    Access,
    Answer,
    Oracle,
    RequestError,
    Threat,
    WrappingAttack,
    at_least,
    component,
    option,
)


@component
class EOT(WrappingAttack):
    """Any attack on the mean answer of a model that answers differently every time.

    Athalye, Engstrom, Ilyas, Kwok: "Synthesizing Robust Adversarial Examples" (ICML 2018). Every question is asked
    `samples` times, and the attack sees the mean of the answers and of their gradients.
    """

    attack: str = option(default="pgd", help="The attack inside; in parentheses if it has commas.", positional=True)
    samples: int = option(default=10, help="How often every question is asked.", check=at_least(1))

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Equation: `E_t [f(t(x))]` in place of `f(x)`, whatever attacks it."""
        return self.inner.craft(Averaged(source, self.samples), x, y, threat)


class Averaged(Oracle):
    """Asks another oracle several times and answers with the mean; with the most frequent class where only labels are
    granted."""

    def __init__(self, source: Oracle, samples: int) -> None:
        self.access, self.queries = source.access, source.queries
        self._source, self._samples = source, samples

    def query(self, x: Tensor, taps: Sequence[str] = ()) -> Answer:
        """Answer for images `x` (B, C, H, W); activations are those of the last time."""
        answers = [self._source.query(x, taps) for _ in range(self._samples)]
        features = answers[-1].features if Access.FEATURES in self.access else {}
        return Answer(self.access, self._mean(answers), features)

    def _mean(self, answers: Sequence[Answer]) -> Tensor:
        if Access.LOGITS in self.access:
            return torch.stack([answer.logits for answer in answers]).mean(dim=0)
        if Access.PROBS in self.access:
            return torch.stack([answer.probabilities for answer in answers]).mean(dim=0)
        return torch.stack([answer.labels for answer in answers]).mode(dim=0).values

    @property
    def taps(self) -> tuple[str, ...]:
        """The natural taps of the model."""
        return self._source.taps

    def module(self) -> nn.Module:
        """Return the model itself; needs parameters to be granted."""
        return self._source.module()


@component
class Transfer(WrappingAttack):
    """Any attack crafted on another network: what an attacker can do who never asks the attacked one.

    Papernot, McDaniel, Goodfellow: "Transferability in Machine Learning" (2016). The source is a twin (everything of
    the run trained once more with another seed: the teacher meets that teacher, the student that student), the teacher
    or student of the run, or a network from elsewhere.
    """

    attack: str = option(default="pgd", help="The attack inside; in parentheses if it has commas.", positional=True)
    source: str = option(
        default="twin",
        help="Where the images are crafted: twin, twin:SEED, teacher, student, run:FOLDER, or file:WEIGHTS.",
    )

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.inner.surrogate is not None:
            raise RequestError("`transfer` cannot go around another `transfer`: name the attack itself.")
        # What is near the boundary of the source says nothing about that of the attacked network.
        object.__setattr__(self, "nearest", False)

    @property
    def surrogate(self) -> str:
        """Say on which other network the attack is crafted."""
        return self.source

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Attack the source to the end: an image that fools it may not fool the other network yet."""
        return threat.project(self.inner.thorough().craft(source, x, y, threat), x)

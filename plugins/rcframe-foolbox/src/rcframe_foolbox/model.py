"""What foolbox's attacks see: a model that asks an oracle, and what counts as adversarial."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import eagerpy as ep
from foolbox.criteria import Criterion, Misclassification, TargetedMisclassification
from foolbox.models import Model
from foolbox.types import Bounds
from torch import Tensor

from rcframe import Access, Oracle

T = TypeVar("T")


class OracleModel(Model):
    """An oracle as a model of foolbox; answers logits (B, classes), or labels (B,) where those are all it asks for."""

    data_format = "channels_first"

    def __init__(self, source: Oracle, access: Access) -> None:
        self._source = source
        self.label_only = Access.LOGITS not in access

    @property
    def bounds(self) -> Bounds:
        """Pixels lie in [0, 1]."""
        return Bounds(0, 1)

    def __call__(self, inputs: T) -> T:
        """Answer for images (B, C, H, W)."""
        x, restore = ep.astensor_(inputs)
        return restore(ep.astensor(self._answer(x.raw)))

    def _answer(self, x: Tensor) -> Tensor:
        return self._source.labels(x) if self.label_only else self._source.logits(x)

    def mistaken(self, x: Tensor, y: Tensor) -> Tensor:
        """Return which images (B,) are misclassified."""
        answer = self._answer(x)
        return (answer if self.label_only else answer.argmax(dim=1)) != y

    def misclassification(self, y: Tensor) -> Criterion:
        """Return the criterion that fits the answers: any class but `y` (B,)."""
        return _OtherLabel(y) if self.label_only else Misclassification(y)

    def runner_up(self, x: Tensor, y: Tensor) -> Criterion:
        """Return the criterion that each image becomes its likeliest class other than `y` (B,)."""
        logits = self._answer(x).detach()
        return TargetedMisclassification(logits.scatter(1, y.unsqueeze(1), float("-inf")).argmax(dim=1))


class _OtherLabel(Misclassification):
    """Any label but the own, told from labels."""

    def __call__(self, perturbed: T, outputs: T) -> T:
        answered, restore = ep.astensor_(outputs)
        return restore(answered != self.labels)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep foolbox's remarks off the screen: it logs to the root logger, which sets that up for the whole process."""
    root, nobody = logging.getLogger(), logging.NullHandler()
    root.addHandler(nobody)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.removeHandler(nobody)

"""The losses of students with auxiliary classifiers. All logits are (B, classes), labels (B,), losses means."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Sequence

import attrs
import torch.nn.functional as F
from torch import Tensor

from rcframe import kl_divergence, weighted_sum


@attrs.frozen
class Outputs:
    """Logits (B, classes) of a student with heads: final, where the teacher enters, and one per self-distilled head."""

    final: Tensor
    shallow: Tensor
    deeper: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, final: Tensor, heads: Sequence[Tensor], enters_at_end: bool) -> Outputs:
        """Sort what a `HeadedStudent` returned: the first head is the teacher's, unless it enters at the end."""
        if enters_at_end:
            return cls(final, final, tuple(heads))
        return cls(final, heads[0], tuple(heads[1:]))


def teacher_loss(shallow: Tensor, teacher_logits: Tensor, y: Tensor, alpha: float, temperature: float) -> Tensor:
    """Equation (1): `L_T = (1 - alpha) CE(o_s, y) + alpha tau^2 KL(softmax(z_T/tau) || softmax(o_s/tau))`.

    A term of weight 0 is left out, so that it can spread no infinities.
    """
    return weighted_sum(
        (1 - alpha, lambda: F.cross_entropy(shallow, y)),
        (alpha * temperature**2, lambda: kl_divergence(teacher_logits, shallow, temperature)),
    )


def self_loss(
    final: Tensor, heads: Sequence[Tensor], y: Tensor, beta: float, temperature: float, scale: float = 1.0
) -> Tensor:
    """Equation (2): `L_SD = sum_j (1 - beta) CE(o_j, y) + beta s KL(softmax(o_0/tau) || softmax(o_j/tau))`.

    The published code has the scale s = 1; tau^2 would weigh this divergence as that from the teacher.
    """
    if not heads:
        return final.new_zeros(())

    def one(logits: Tensor) -> Tensor:
        return weighted_sum(
            (1 - beta, lambda: F.cross_entropy(logits, y)),
            (beta * scale, lambda: kl_divergence(final, logits, temperature)),
        )

    return functools.reduce(operator.add, map(one, heads))


def feature_loss(final: Tensor, heads: Iterable[Tensor]) -> Tensor:
    """Equation (7): `sum_j ||F_0 - F_j||^2`, the squared distance of features (B, C), mean over the batch."""
    total = final.new_zeros(())
    for features in heads:
        total = total + ((final - features) ** 2).sum(dim=1).mean()
    return total

"""Loss terms that several methods share."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable

import torch
from torch import Tensor

from rcframe.errors import RequestError


def kl_divergence(p_logits: Tensor, q_logits: Tensor, temperature: float) -> Tensor:
    """Return KL(softmax(p/T) || softmax(q/T)), summed over classes and averaged over the batch.

    `p_logits` and `q_logits` are (B, classes); gradients reach both unless they are detached. Classes that p rules out
    by a logit of -inf add nothing; such a p takes no gradient.
    """
    log_p = (p_logits / temperature).log_softmax(dim=1)
    if not log_p.requires_grad:
        # Zero times infinity is no number, so the logarithm of zero is a finite one here.
        log_p = log_p.clamp_min(torch.finfo(log_p.dtype).min)
    log_q = (q_logits / temperature).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()


def weighted_sum(*terms: tuple[float, Callable[[], Tensor]]) -> Tensor:
    """Return the sum of terms times their weights. Added in API 1.4.

    A term of weight 0 is not computed, so that it can neither read labels nor spread infinities.
    """
    if not any(weight for weight, _ in terms):
        raise RequestError("All weights of a loss are 0, so that there is nothing to learn: set one of them.")
    weighed = [term() if weight == 1 else weight * term() for weight, term in terms if weight]
    return functools.reduce(operator.add, weighed)

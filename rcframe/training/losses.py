"""Loss terms that several methods share."""

from __future__ import annotations

from torch import Tensor


def kl_divergence(p_logits: Tensor, q_logits: Tensor, temperature: float) -> Tensor:
    """Return KL(softmax(p/T) || softmax(q/T)), summed over classes and averaged over the batch.

    `p_logits` and `q_logits` are (B, classes); gradients reach both unless they are detached.
    """
    log_p = (p_logits / temperature).log_softmax(dim=1)
    log_q = (q_logits / temperature).log_softmax(dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1).mean()

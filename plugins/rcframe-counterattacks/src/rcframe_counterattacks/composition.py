"""Targets composed of what a teacher answers and a signal that it cannot have tampered with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from rcframe import kl_divergence


def composed(teacher_logits: Tensor, clean: Tensor, mix: float, temperature: float) -> Tensor:
    """Equation (1): `q = m softmax(z_T/tau) + (1 - m) c`, probabilities (B, classes).

    `teacher_logits` and the clean probabilities `c` are (B, classes). A false peak of the teacher shrinks twice: by
    the temperature tau, and by m.
    """
    return mix * (teacher_logits / temperature).softmax(dim=1) + (1 - mix) * clean


def labels_as_probabilities(y: Tensor, like: Tensor) -> Tensor:
    """Return labels `y` (B,) as probabilities (B, classes): 1 for the label, in the form of the logits `like`."""
    return F.one_hot(y, like.shape[1]).to(like)


def composition_loss(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Equation (2): `tau^2 KL(q || softmax(z_S/tau))`, mean over the batch.

    `logits` are the student's and `target` is q, (B, classes) each. A class with q = 0 adds nothing.
    """
    return temperature**2 * kl_divergence(temperature * target.log(), logits, temperature)

"""What is needed to build the networks of a run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rcframe.choice import longest
from rcframe.networks.weights import Architecture

if TYPE_CHECKING:
    from rcframe.session.session import Session
    from rcframe.training.context import Role


def architecture_of(session: Session, role: Role) -> Architecture:
    """Describe the network of a role, as it was before anything pruned it."""
    config, parts = session.config, session.parts
    brought = parts.teacher.brought()
    if role == "teacher" and brought is not None:
        return brought
    info, spiking = session.dataset.info, role == "student" and config.neuron
    return Architecture(
        model=longest(config.student_model or config.model, parts.student_model)
        if role == "student"
        else longest(config.model, parts.model),
        neuron=longest(config.neuron, parts.neuron) if spiking and config.neuron else None,
        shape=info.shape,
        classes=len(info.classes),
    )

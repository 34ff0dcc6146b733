"""What is needed to build the networks of a run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rcframe.choice import longest
from rcframe.networks.weights import Architecture

if TYPE_CHECKING:
    from rcframe.data.images import DataInfo
    from rcframe.session.assemble import Parts
    from rcframe.session.config import RunConfig
    from rcframe.session.session import Session
    from rcframe.training.context import Role


def architecture_of(session: Session, role: Role) -> Architecture:
    """Describe the finished network of a role, as if nothing had pruned it."""
    return finished_architecture(role, session.config, session.parts, session.dataset.info)


def finished_architecture(role: Role, config: RunConfig, parts: Parts, info: DataInfo) -> Architecture:
    """Describe what the network of a role is built from once it is trained, or brought."""
    brought = parts.teacher.brought() if role == "teacher" else None
    method = parts.teacher if role == "teacher" else parts.students[-1]
    return brought or method.becomes(trained_architecture(role, config, parts, info))


def trained_architecture(role: Role, config: RunConfig, parts: Parts, info: DataInfo) -> Architecture:
    """Describe what the network of a role is trained as."""
    spiking = role == "student" and config.neuron
    return Architecture(
        model=longest(config.student_model or config.model, parts.student_model)
        if role == "student"
        else longest(config.model, parts.model),
        neuron=longest(config.neuron, parts.neuron) if spiking and config.neuron else None,
        shape=info.shape,
        classes=len(info.classes),
    )

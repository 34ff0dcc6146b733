"""Which software a run used."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch

from rcframe import __version__
from rcframe.registry import registry
from rcframe.session.config import RunConfig


def versions_used(config: RunConfig) -> dict[str, str]:
    """Return the versions of Python, the main libraries, and every distribution a run's components come from."""
    used = {
        "python": platform.python_version(),
        "rcframe": __version__,
        "torch": str(torch.__version__),
        "numpy": version("numpy"),
    }
    chosen = [
        ("data", config.data),
        ("model", config.model),
        ("teacher", config.teacher),
        *(("student", choice) for choice in config.students),
        *(("pruner", choice) for choice in config.pruners),
        *(("attack", choice) for choice in config.attacks),
        *(("certifier", choice) for choice in config.certifiers),
    ]
    chosen += [("model", config.student_model)] if config.student_model else []
    chosen += [("neuron", config.neuron)] if config.neuron else []
    for kind, choice in chosen:
        inside = ((part.kind, registry().choice_of(part)) for part in registry().make(kind, choice).parts())
        for found in (registry().find(*named) for named in [(kind, choice), *inside]):
            used[found.distribution] = found.version
    return used

"""What determines the work of a run, beyond what the work knows itself."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
import torch
from torch import nn

from rcframe.api import Component
from rcframe.choice import Choice, longest
from rcframe.data.fingerprint import test_fingerprint, training_fingerprint
from rcframe.evaluation.threat import Threat
from rcframe.guarding import guard_parts, trained_choice, trained_part
from rcframe.networks.weights import Architecture
from rcframe.registry import registry
from rcframe.session.architecture import architecture_of
from rcframe.session.store import Store
from rcframe.storage.code import code_of
from rcframe.storage.identity import PHASES, Identity
from rcframe.storage.keeper import Keeper, Work
from rcframe.storage.state_file import digest_state

if TYPE_CHECKING:
    from rcframe.session.session import Session
    from rcframe.training.context import Owner, Role, Run

Parts = Mapping[str, str]


class RunKeeper(Keeper):
    """Keeps the work of one role of a run; work that follows other work is determined by that too."""

    def __init__(self, store: Store, context: Callable[[Work], Parts], chained: bool) -> None:
        self._store, self._context, self._chained = store, context, chained
        self._follows = ""

    @contextmanager
    def keeping(self, work: Work) -> Iterator[bool]:
        """Put `work` where it was left; the value says whether it is finished. At the end, keep the result."""
        own = work.identity()
        follows = {"follows": self._follows} if self._chained else {}
        identity = Identity({"name": work.name, **(own or {}), **self._context(work), **follows})
        with self._store.keep(work, identity, shareable=own is not None) as finished:
            yield finished
        self._follows = identity.key

    def progressed(self, work: Work) -> None:
        """Keep unfinished work from time to time."""
        self._store.progressed(work)


def teacher_parts(session: Session, owner: Owner | None = None) -> Parts:
    """Return what the stages of the teacher, or of another that it has for a teacher, depend on.

    A defence of its answers changes nothing in its training, so that teachers with and without one share it.
    """
    run = owner.run if owner else session.assembly.teacher_run
    whole = owner.teacher if owner else session.parts.teacher
    teacher = trained_part(whole)
    choice = registry().choice_of(teacher) if owner else trained_choice(session.config.teacher, whole)
    return {
        **_training_parts(session, run),
        **_components("model", [(run.model, registry().make("model", run.model))]),
        **_components("teacher", [(choice, teacher)]),
    }


def student_parts(session: Session, teacher: nn.Module) -> Parts:
    """Return what the stages of the student depend on: its methods, and whatever teacher there is.

    That counts by its weights, and by what guards its answers.
    """
    config, parts = session.config, session.parts
    neuron = [(config.neuron, parts.neuron)] if config.neuron and parts.neuron else []
    return {
        **_training_parts(session, session.assembly.student_run),
        **_components("model", [(config.student_model or config.model, parts.student_model)]),
        **_components("student", list(zip(config.students, parts.students, strict=True))),
        **_components("pruner", list(zip(config.pruners, parts.pruners, strict=True))),
        **_components("neuron", neuron),
        "access": config.access,
        "budget": str(config.budget),
        **_network("teacher", teacher, architecture_of(session, "teacher")),
        **guard_parts(parts.teacher),
    }


def measuring_parts(session: Session, role: Role, module: nn.Module) -> Parts:
    """Return what the measurements of a network depend on, besides the attack or certifier."""
    return {
        **_environment(session),
        **_network("network", module, architecture_of(session, role)),
        "test images": test_fingerprint(session.dataset),
        "measured": str(session.measured),
    }


def method_parts(choice: Choice, built: Component, threat: Threat, source: nn.Module | None = None) -> Parts | None:
    """Return what an attack or certifier and its threat contribute; None if its source cannot be found.

    `source` is the network on which an attack is crafted, if that is not the attacked one.
    """
    code = code_of(type(each).__module__ for each in (built, *built.parts()))
    if code is None:
        return None
    return {
        **_components(built.kind, [(choice, built)]),
        "threat": f"{threat.norm} {threat.eps!r} {threat.bounds}",
        **({} if source is None else {"crafted on": _weights(source)}),
        **{f"code of {name}": digest for name, digest in code.items()},
    }


def _training_parts(session: Session, run: Run) -> Parts:
    return {
        **_environment(session),
        "role": run.role,
        "precision": session.compute.precision,
        "processes": str(session.compute.count),
        "data": training_fingerprint(session.dataset),
        **run.made,
    }


def _environment(session: Session) -> Parts:
    # A network that uses no layer of ours is still trained and measured by us.
    kernel = code_of(["rcframe", "torch"]) or {}
    return {
        **{f"code of {name}": digest for name, digest in kernel.items()},
        "seed": str(session.config.seed),
        "device": describe_device(session.compute.device),
        "threads": str(torch.get_num_threads()),
        "deterministic": str(session.config.deterministic),
    }


def describe_device(device: torch.device) -> str:
    """Name the hardware, as far as it decides how numbers are rounded."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    if device.type == "cpu":
        return f"cpu {platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return device.type


def _components(label: str, chosen: Sequence[tuple[Choice, Component]]) -> Parts:
    """Return components with all their options, and the versions of the plugins that bring them."""
    if not chosen:
        return {}
    specs = [longest(attrs.evolve(choice, distribution=None), built) for choice, built in chosen]
    versions = {}
    for choice, built in chosen:
        found = registry().find(built.kind, choice)
        versions[f"version of {found.distribution}"] = found.version
    return {label: PHASES.join(specs), **versions}


def weights_parts(module: nn.Module) -> Parts:
    """Return what a network contributes that is only asked."""
    return {"weights": _weights(module)}


def _weights(module: nn.Module) -> str:
    return digest_state({"layers": str(module), "weights": module.state_dict()})


def _network(label: str, module: nn.Module, architecture: Architecture) -> Parts:
    """Return a finished network: how it was built, its layers, its weights, and the code of its classes."""
    code = code_of(type(part).__module__ for part in module.modules()) or {}
    return {
        label: digest_state({"built": str(architecture), "layers": str(module), "weights": module.state_dict()}),
        **{f"code of {name}": digest for name, digest in code.items()},
    }

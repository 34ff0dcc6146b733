"""Measuring both models of a run by everything it asks for, with the protocol beside every figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor, nn

from rcframe.api import Component
from rcframe.choice import Choice, parse_choice, shortest
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.radii import Radii
from rcframe.networks.size import size_of
from rcframe.options import Number, values_of
from rcframe.registry import registry
from rcframe.session.architecture import architecture_of, trained_architecture
from rcframe.session.evidence import Evidence
from rcframe.session.examining import Examined, Examiner
from rcframe.session.gathering import Witness, gather
from rcframe.session.judging import Judge
from rcframe.session.outcomes import Outcome, Outcomes
from rcframe.session.outputs import outputs_of, temperature_of
from rcframe.session.report import Broken, CurvePoint, Measurement, ModelReport, Passes, Protocol, Report
from rcframe.session.store import Store
from rcframe.session.twins import Surrogates
from rcframe.session.versions import versions_used
from rcframe.training.context import Role
from rcframe.training.monitor import Monitor
from rcframe.wrapping import model_in_brief

if TYPE_CHECKING:
    from rcframe.session.session import Session


@attrs.frozen
class Measured:
    """What was found of both models, and a function that gathers what may be kept besides: not every run keeps it."""

    report: Report
    evidence: Callable[[], Evidence]


def measure(
    session: Session,
    teacher: nn.Module,
    student: nn.Module,
    queries: Queries,
    store: Store,
    monitor: Monitor,
    surrogates: Surrogates,
) -> Measured:
    """Measure teacher and student on the same test images; `queries` are what this process asked the teacher."""
    config, compute = session.config, session.compute
    of_teacher = Judge(session, "teacher", teacher, store, monitor, surrogates).judge()
    of_student = Judge(session, "student", student, store, monitor, surrogates).judge()
    asked = compute.total(torch.tensor(attrs.astuple(queries))).tolist()
    examined = Examined("teacher", teacher, of_teacher), Examined("student", student, of_student)
    flags = tuple(Examiner(session, store, monitor, surrogates).flags(*examined))
    report = Report(
        command=session.command,
        data=str(config.data),
        access=config.access,
        teacher=_model_report(session, "teacher", teacher, of_teacher, None),
        student=_model_report(session, "student", student, of_student, of_teacher),
        queries=Queries(*asked),
        seed=config.seed,
        seconds=store.seconds,
        device=compute.device.type if compute.device.type == "cpu" else str(compute.device),
        versions=versions_used(config),
        flags=flags,
    )
    witnesses = Witness("teacher", teacher, of_teacher), Witness("student", student, of_student)
    return Measured(report, partial(gather, session, witnesses))


def _model_report(
    session: Session, role: Role, module: nn.Module, outcomes: Outcomes, imitated: Outcomes | None
) -> ModelReport:
    config = session.config
    student = role == "student"
    protocols, figure = dict(_protocols(session)), partial(_figure, session, outcomes)
    model, neuron = _network_of(session, role)
    return ModelReport(
        component=" then ".join(map(str, config.students)) if student else str(config.teacher),
        model=model,
        neuron=neuron,
        pruners=tuple(map(str, config.pruners)) if student else (),
        clean=figure(outcomes.clean),
        attacked={spec: figure(outcome, protocols[spec]) for spec, outcome in outcomes.attacked.items()},
        worst_case=figure(outcomes.worst_case) if outcomes.worst_case else None,
        released=figure(outcomes.released) if outcomes.released else None,
        outputs=outputs_of(outcomes, imitated, temperature_of(session.parts), config.seed),
        certified={spec: figure(outcome, protocols[spec]) for spec, outcome in outcomes.certified.items()},
        radii={spec: Radii.of(radii) for spec, radii in outcomes.radii.items()},
        size=size_of(module),
        pruned=tuple(session.assembly.student_run.pruned) if student else (),
    )


def _figure(session: Session, outcomes: Outcomes, outcome: Outcome, protocol: Protocol | None = None) -> Measurement:
    """Count what was found image by image."""
    attack = outcome.queries if protocol else None
    attacked, fall = int(outcomes.clean.right.sum()), outcome.fall
    return Measurement(
        Accuracy.of(outcome.right),
        protocol,
        attack,
        by_class=dict(_by_class(session, outcomes.labels, outcome.right)),
        broken=_broken(outcome, outcomes.clean.right) if attack else None,
        passes=_passes(attack, attacked) if attack and attacked else None,
        faults=outcome.faults if attack else None,
        curve=tuple(CurvePoint(eps, Accuracy.of(fall.right(eps))) for eps in fall.points) if fall else (),
        curve_queries=fall.queries if fall and attack else None,
    )


def _by_class(session: Session, labels: Tensor, right: Tensor) -> Iterator[tuple[str, Accuracy]]:
    for label, name in enumerate(session.dataset.info.classes):
        here = labels == label
        if bool(here.any()):
            yield name, Accuracy.of(right[here])


def _broken(outcome: Outcome, before: Tensor) -> Broken:
    gone = before & ~outcome.right
    if outcome.linf is None or outcome.l2 is None or not bool(gone.any()):
        return Broken(int(gone.sum()))
    return Broken(int(gone.sum()), float(outcome.linf[gone].double().mean()), float(outcome.l2[gone].double().mean()))


def _passes(queries: Queries, attacked: int) -> Passes:
    return Passes(queries.images / attacked, queries.gradient_images / attacked)


def _network_of(session: Session, role: Role) -> tuple[str, str | None]:
    """Return the spec strings of a role's model and of its neurons, if it spikes: as typed, if that is what it is."""
    config = session.config
    finished = architecture_of(session, role)
    if finished == trained_architecture(role, config, session.parts, session.dataset.info):
        spiking = role == "student" and config.neuron
        typed = config.student_model or config.model if role == "student" else config.model
        return str(typed), str(config.neuron) if spiking else None
    return model_in_brief(finished.model), _neuron_in_brief(finished.neuron) if finished.neuron else None


def _neuron_in_brief(spec: str) -> str:
    choice = parse_choice(spec, "neuron")
    return shortest(choice, registry().make("neuron", choice))


def _protocols(session: Session) -> Iterator[tuple[str, Protocol]]:
    """Yield how each attack and certifier of the run measures, by spec string."""
    config, parts = session.config, session.parts
    for choice, attack in zip(config.attacks, parts.attacks, strict=True):
        yield str(choice), _protocol(session, choice, attack)
    for choice, certifier in zip(config.certifiers, parts.certifiers, strict=True):
        yield str(choice), _protocol(session, choice, certifier)


def _protocol(session: Session, choice: Choice, built: Component) -> Protocol:
    found = registry().find(built.kind, choice)
    return Protocol(
        norm=session.threat.norm,
        eps=Number(str(session.config.eps)),
        options=values_of(built),
        seed=session.config.seed,
        plugin=found.distribution,
        version=found.version,
    )

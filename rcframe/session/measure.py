"""Measuring both models of a run by everything it asks for, with the protocol beside every figure."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import attrs
from torch import Tensor, nn

from rcframe.api import Component
from rcframe.choice import Choice, parse_choice, shortest
from rcframe.evaluation.evaluate import Accuracy, Evaluator
from rcframe.evaluation.flags import Findings, trust_flags
from rcframe.evaluation.oracle import Queries
from rcframe.networks.size import size_of
from rcframe.options import Number, values_of
from rcframe.registry import registry
from rcframe.session.report import Measurement, ModelReport, Protocol, Report
from rcframe.session.versions import versions_used
from rcframe.training.context import Role
from rcframe.training.monitor import Monitor
from rcframe.training.randomness import seeded

if TYPE_CHECKING:
    from rcframe.session.session import Session


def measure(
    session: Session, teacher: nn.Module, student: nn.Module, queries: Queries, started: float, monitor: Monitor
) -> Report:
    """Measure teacher and student on the same test images; `started` is the run's start on the monotonic clock."""
    config = session.config
    of_teacher = _Judge(session, "teacher", monitor).judge(teacher)
    of_student = _Judge(session, "student", monitor).judge(student)
    return Report(
        command=session.command,
        data=str(config.data),
        access=config.access,
        teacher=_model_report(session, "teacher", teacher, of_teacher),
        student=_model_report(session, "student", student, of_student),
        queries=queries,
        seed=config.seed,
        seconds=time.monotonic() - started,
        device=str(session.device),
        versions=versions_used(config),
        flags=(*trust_flags("teacher", of_teacher), *trust_flags("student", of_student)),
    )


@attrs.frozen
class _Judge:
    """Measures one model by everything a run asks for."""

    session: Session
    role: Role
    monitor: Monitor

    def judge(self, module: nn.Module) -> Findings:
        """Return which test images each measurement finds right."""
        config, parts, threat = self.session.config, self.session.parts, self.session.threat
        evaluator = self._evaluator
        findings = Findings(
            clean=self._measure("clean", "clean", lambda: evaluator.clean(module)),
            unseen=evaluator.unseen(self.session.dataset.info.classes),
        )
        for choice, attack in zip(config.attacks, parts.attacks, strict=True):
            spec, queries = str(choice), Queries()
            attacked = functools.partial(evaluator.attacked, module, attack, threat, queries)
            findings.attacked[spec], findings.queries[spec] = (
                self._measure(spec, _stream(choice, attack), attacked),
                queries,
            )
        for choice, certifier in zip(config.certifiers, parts.certifiers, strict=True):
            certified = functools.partial(evaluator.certified, module, certifier, threat)
            findings.certified[str(choice)] = self._measure(str(choice), _stream(choice, certifier), certified)
        return findings

    @property
    def _evaluator(self) -> Evaluator:
        test, asked = self.session.dataset.test, self.session.config.eval_size
        return Evaluator(
            images=test,
            count=min(asked or len(test), len(test)),
            device=self.session.device,
            progress=self.monitor.measured,
        )

    def _measure(self, what: str, stream: str, measurement: Callable[[], Tensor]) -> Tensor:
        """Measure with generators started from the seed, so that teacher and student meet the same randomness.

        `stream` does not depend on how the user spelled what is measured.
        """
        self.monitor.measuring(f"{self.role}: {what}", self._evaluator.count)
        with seeded(self.session.config.seed, "measure", stream):
            return measurement()


def _model_report(session: Session, role: Role, module: nn.Module, findings: Findings) -> ModelReport:
    config = session.config
    student = role == "student"
    protocols = dict(_protocols(session))
    model, neuron = _network_of(session, role)
    return ModelReport(
        component=" then ".join(map(str, config.students)) if student else str(config.teacher),
        model=model,
        neuron=neuron,
        pruners=tuple(map(str, config.pruners)) if student else (),
        clean=Measurement(Accuracy.of(findings.clean)),
        attacked={
            spec: Measurement(Accuracy.of(right), protocols[spec], findings.queries[spec])
            for spec, right in findings.attacked.items()
        },
        certified={
            spec: Measurement(Accuracy.of(right), protocols[spec]) for spec, right in findings.certified.items()
        },
        size=size_of(module),
        pruned=tuple(session.assembly.student_run.pruned) if student else (),
    )


def _stream(choice: Choice, built: Component) -> str:
    """Name the random stream of a measurement: equal for equal options, however the user spelled the choice."""
    return shortest(attrs.evolve(choice, distribution=None), built)


def _network_of(session: Session, role: Role) -> tuple[str, str | None]:
    """Return the spec strings of a role's model and of its neurons, if it spikes."""
    config = session.config
    if role == "student":
        return str(config.student_model or config.model), str(config.neuron) if config.neuron else None
    brought = session.parts.teacher.brought()
    if brought is None:
        return str(config.model), None
    return _shortened("model", brought.model), _shortened("neuron", brought.neuron) if brought.neuron else None


def _shortened(kind: str, spec: str) -> str:
    choice = parse_choice(spec, kind)
    return shortest(choice, registry().make(kind, choice))


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

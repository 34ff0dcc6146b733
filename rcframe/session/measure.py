"""Measuring both models of a run by everything it asks for, with the protocol beside every figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor, nn

from rcframe.api import Certifier, Component
from rcframe.choice import Choice, parse_choice, shortest
from rcframe.errors import listed
from rcframe.evaluation.album import Album, evenly
from rcframe.evaluation.evaluate import Accuracy, Evaluator, spread
from rcframe.evaluation.flags import Findings, trust_flags
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.radii import Radii, RadiusSearch, find_radii, largest_radius
from rcframe.evaluation.tally import Tally
from rcframe.networks.size import size_of
from rcframe.options import Number, values_of
from rcframe.registry import registry
from rcframe.session.evidence import Evidence
from rcframe.session.gathering import Witness, gather
from rcframe.session.keeping import RunKeeper, measuring_parts, method_parts
from rcframe.session.report import Measurement, ModelReport, Protocol, Report
from rcframe.session.store import Store
from rcframe.session.versions import versions_used
from rcframe.training.context import Role
from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from rcframe.session.session import Session


@attrs.frozen
class Measured:
    """What was found of both models, and a function that gathers what may be kept besides: not every run keeps it."""

    report: Report
    evidence: Callable[[], Evidence]


def measure(
    session: Session, teacher: nn.Module, student: nn.Module, queries: Queries, store: Store, monitor: Monitor
) -> Measured:
    """Measure teacher and student on the same test images; `queries` are what this process asked the teacher."""
    config, compute = session.config, session.compute
    of_teacher = _Judge(session, "teacher", teacher, store, monitor).judge()
    of_student = _Judge(session, "student", student, store, monitor).judge()
    asked = compute.total(torch.tensor(attrs.astuple(queries))).tolist()
    report = Report(
        command=session.command,
        data=str(config.data),
        access=config.access,
        teacher=_model_report(session, "teacher", teacher, of_teacher),
        student=_model_report(session, "student", student, of_student),
        queries=Queries(*asked),
        seed=config.seed,
        seconds=store.seconds,
        device=compute.device.type if compute.device.type == "cpu" else str(compute.device),
        versions=versions_used(config),
        flags=(*trust_flags("teacher", of_teacher), *trust_flags("student", of_student), *_mixed(store)),
    )
    witnesses = Witness("teacher", teacher, of_teacher), Witness("student", student, of_student)
    return Measured(report, partial(gather, session, witnesses))


def _mixed(store: Store) -> Iterator[str]:
    if store.log.mixed:
        yield f"the run went on after changes of {listed(store.log.mixed)}: it cannot be repeated exactly"


@attrs.frozen
class _Judge:
    """Measures one model by everything a run asks for."""

    session: Session
    role: Role
    module: nn.Module
    store: Store
    monitor: Monitor

    def judge(self) -> Findings:
        """Return which test images each measurement finds right."""
        config, parts, threat, module = self.session.config, self.session.parts, self.session.threat, self.module
        evaluator = self._evaluator()
        clean = self._tally(evaluator, "clean", "clean", {})
        findings = Findings(
            clean=evaluator.clean(module, clean),
            unseen=evaluator.unseen(self.session.dataset.info.classes),
        )
        for choice, attack in zip(config.attacks, parts.attacks, strict=True):
            spec = str(choice)
            album = Album.empty(evaluator.count, self.session.dataset.info.shape)
            tally = self._tally(evaluator, spec, _stream(choice, attack), method_parts(choice, attack, threat), album)
            findings.attacked[spec] = evaluator.attacked(module, attack, threat, tally)
            findings.queries[spec], findings.pictures[spec] = tally.queries, album.pictures
        for choice, certifier in zip(config.certifiers, parts.certifiers, strict=True):
            spec = str(choice)
            # An attack may have the same name.
            what = f"certified by {spec}"
            tally = self._tally(evaluator, what, _stream(choice, certifier), method_parts(choice, certifier, threat))
            findings.certified[spec] = evaluator.certified(module, certifier, threat, tally)
            if config.radii:
                findings.radii[spec] = self._radii(evaluator, choice, certifier, findings.clean)
        return findings

    def _radii(self, evaluator: Evaluator, choice: Choice, certifier: Certifier, right: Tensor) -> Tensor:
        """Search the certified radii (m,) of some of the measured images; `right` (n,) is said of all of these."""
        # Runs that differ in eps find the same radii, and need not search for them twice.
        threat, shape = attrs.evolve(self.session.threat, eps=0.0), self.session.dataset.info.shape
        some = evenly(evaluator.count, min(self.session.config.radii, evaluator.count))
        name = f"{self.role}: radii by {choice}"
        method = method_parts(choice, certifier, threat)
        search = RadiusSearch(
            name,
            right.cpu()[some],
            threat,
            largest_radius(threat, shape),
            None if method is None else {**method, "images": str(len(some))},
            _stream(choice, certifier),
        )
        self.monitor.measuring(name, len(some))
        return find_radii(evaluator, spread(evaluator.images, evaluator.count)[some], self.module, certifier, search)

    def _evaluator(self) -> Evaluator:
        session = self.session
        context = measuring_parts(session, self.role, self.module)
        return Evaluator(
            images=session.dataset.test,
            count=session.measured,
            seed=session.config.seed,
            compute=session.compute,
            keeper=RunKeeper(self.store, lambda: context, chained=False),
            progress=self.monitor.measured,
            say=self.monitor.said,
        )

    def _tally(
        self,
        evaluator: Evaluator,
        what: str,
        stream: str,
        method: Mapping[str, str] | None,
        album: Album | None = None,
    ) -> Tally:
        """Return an empty tally; teacher and student meet the same random numbers.

        `stream` does not depend on how the user spelled what is measured.
        """
        name = f"{self.role}: {what}"
        self.monitor.measuring(name, evaluator.count)
        return evaluator.tally(name, stream=stream, determined_by=method, album=album)


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
        radii={spec: Radii.of(radii) for spec, radii in findings.radii.items()},
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

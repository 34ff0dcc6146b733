"""One run from configuration to report: load, check, train, save, measure."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import torch
from torch import nn

from rcframe.access import parse_access
from rcframe.api import Pruner, StudentPlan, StudentStrategy
from rcframe.choice import longest
from rcframe.data.images import Dataset
from rcframe.data.prepare import default_root, prepare
from rcframe.evaluation.oracle import ModelOracle, Oracle
from rcframe.evaluation.threat import Threat, make_threat
from rcframe.networks.modes import freeze
from rcframe.networks.weights import Architecture
from rcframe.registry import registry
from rcframe.session.assemble import Assembly, Parts, Refusal, assemble, build_parts, refuse_with_alternative
from rcframe.session.config import RunConfig, label
from rcframe.session.devices import resolve_device, threads_for
from rcframe.session.folder import Journal, RunFolder
from rcframe.session.measure import measure
from rcframe.session.report import Report
from rcframe.training.context import Role, Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor, Monitors
from rcframe.training.stage import Stage


@attrs.frozen(kw_only=True)
class Session:
    """A run that is ready to start: its parts fit each other."""

    config: RunConfig
    parts: Parts
    dataset: Dataset
    device: torch.device
    assembly: Assembly
    threat: Threat
    command: str


def prepare_session(config: RunConfig, command: str) -> Session:
    """Load the data, build every part and check them against each other; nothing is trained and nothing written."""
    device = resolve_device(config.device)
    parts = build_parts(config)
    config = label(config, parts.by_setting())
    root = Path(config.data_root) if config.data_root else default_root()
    dataset = prepare(parts.data, root, config.seed)
    config = attrs.evolve(config, eps=config.eps if config.eps is not None else dataset.info.eps)
    threat = make_threat(config.eps, config.norm)
    try:
        assembly = assemble(config, parts, dataset, device)
    except Refusal as refusal:
        raise refuse_with_alternative(refusal, config, dataset, device) from None
    return Session(
        config=config,
        parts=parts,
        dataset=dataset,
        device=device,
        assembly=assembly,
        threat=threat,
        command=command,
    )


def carry_out(session: Session, display: Monitor, folder: RunFolder | None) -> Report:
    """Train, save and measure; return the report, which is also in the folder."""
    monitor = Monitors([display, Journal(folder)]) if folder else display
    try:
        with threads_for(session.config.threads, math.prod(session.dataset.info.shape)):
            return _carry_out(session, monitor, folder)
    finally:
        monitor.closed()


def _carry_out(session: Session, monitor: Monitor, folder: RunFolder | None) -> Report:
    started = time.monotonic()
    registry().run_started(session)
    if folder:
        folder.write_config(session)
    teacher = _train_teacher(session, monitor)
    if folder:
        folder.save_teacher(teacher, _architecture(session, "teacher"))
    oracle = ModelOracle(teacher, parse_access(session.config.access), session.config.budget)
    student = _train_student(session, oracle, monitor)
    if folder:
        folder.save_student(student, _architecture(session, "student"))
    report = measure(session, teacher, student, oracle.queries, started, monitor)
    if folder:
        folder.write_report(report)
    registry().run_finished(session, report)
    return report


def _train_teacher(session: Session, monitor: Monitor) -> nn.Module:
    assembly = session.assembly
    plan = session.parts.teacher.plan(assembly.teacher, assembly.teacher_run)
    return freeze(execute(plan, monitor) or assembly.teacher)


def _train_student(session: Session, teacher: Oracle, monitor: Monitor) -> nn.Module:
    """Walk the phases of the student, rewritten by every pruner in turn."""
    run, parts = session.assembly.student_run, session.parts

    def plan(student: nn.Module) -> Iterator[Stage]:
        return _phases(parts.students, student, teacher, run)

    whole: StudentPlan = plan
    for pruner in parts.pruners:
        whole = functools.partial(_rewritten, pruner, whole, run)
    student = run.adopt(session.assembly.student)
    return freeze(execute(whole(student), monitor) or student)


def _rewritten(pruner: Pruner, plan: StudentPlan, run: Run, student: nn.Module) -> Iterator[Stage]:
    return pruner.rewrite(plan, student, run)


def _phases(strategies: tuple[StudentStrategy, ...], student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
    """Yield the stages of every phase; each starts from the student that the one before ended with."""
    for strategy in strategies:
        for stage in strategy.plan(student, teacher, run.reading(strategy.data)):
            yield stage
            student = stage.target


def _architecture(session: Session, role: Role) -> Architecture:
    config = session.config
    parts, neuron = session.parts, None
    brought = parts.teacher.brought()
    if role == "teacher" and brought is not None:
        return brought
    model = longest(config.model, parts.model)
    if role == "student":
        model = longest(config.student_model or config.model, parts.student_model)
        neuron = longest(config.neuron, parts.neuron) if config.neuron else None
    return Architecture(
        model=model,
        neuron=neuron,
        shape=session.dataset.info.shape,
        classes=len(session.dataset.info.classes),
    )

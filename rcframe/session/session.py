"""One run from configuration to report: load, check, train, save, measure."""

from __future__ import annotations

import functools
import logging
import math
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
from torch import nn

from rcframe.access import parse_access
from rcframe.api import Pruner, StudentPlan, StudentStrategy
from rcframe.data.images import Dataset
from rcframe.data.prepare import default_root, prepare
from rcframe.errors import RunFailed
from rcframe.evaluation.oracle import ModelOracle, Oracle
from rcframe.evaluation.threat import Threat, make_threat
from rcframe.networks.modes import freeze
from rcframe.session.architecture import architecture_of
from rcframe.session.assemble import Assembly, Parts, Refusal, assemble, build_parts, refuse_with_alternative
from rcframe.session.config import RunConfig, label
from rcframe.session.devices import determinism, make_compute, nondeterministic_operation, resolve_threads, threads
from rcframe.session.folder import RunFolder
from rcframe.session.journal import Journal
from rcframe.session.keeping import RunKeeper, student_parts, teacher_parts
from rcframe.session.measure import measure
from rcframe.session.report import Report
from rcframe.session.stopping import Stop
from rcframe.session.store import Changed, Store
from rcframe.session.tracking import Tracking
from rcframe.session.worklog import WorkLog, read_worklog
from rcframe.storage.cache import Cache
from rcframe.storage.keeper import Keeper
from rcframe.training.compute import Compute
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor, Monitors
from rcframe.training.randomness import seed_everything
from rcframe.training.stage import Stage

_LOG = logging.getLogger("rcframe")


@attrs.frozen(kw_only=True)
class Session:
    """A run that is ready to start: its parts fit each other."""

    config: RunConfig
    parts: Parts
    dataset: Dataset
    compute: Compute
    assembly: Assembly
    threat: Threat
    command: str

    @property
    def measured(self) -> int:
        """How many test images are measured."""
        return min(self.config.eval_size or len(self.dataset.test), len(self.dataset.test))


def prepare_session(config: RunConfig, command: str) -> Session:
    """Load the data, build every part and check them against each other; nothing is trained and nothing written.

    What the request left to the machine, such as the device, is decided here and written into the configuration.
    """
    compute = make_compute(config.device, config.precision)
    parts = build_parts(config)
    config = label(config, parts.by_setting())
    root = Path(config.data_root) if config.data_root else default_root()
    # One process may have to fetch the files that the others read.
    dataset = compute.main_first(lambda: prepare(parts.data, root, config.seed))
    config = attrs.evolve(
        config,
        eps=config.eps if config.eps is not None else dataset.info.eps,
        device=config.device if config.device != "auto" else compute.device.type,
        threads=resolve_threads(config.threads, math.prod(dataset.info.shape)),
    )
    try:
        assembly = assemble(config, parts, dataset, compute)
    except Refusal as refusal:
        raise refuse_with_alternative(refusal, config, dataset, compute) from None
    return Session(
        config=config,
        parts=parts,
        dataset=dataset,
        compute=compute,
        assembly=assembly,
        threat=make_threat(config.eps, config.norm),
        command=command,
    )


def carry_out(
    session: Session,
    display: Monitor,
    folder: RunFolder | None = None,
    cache: Cache | None = None,
    stop: Stop | None = None,
    *,
    despite_changes: bool = False,
    edited: Sequence[str] = (),
) -> Report:
    """Train, save and measure; return the report, which is also in the folder.

    What the folder or the cache hold already is not computed again. Where several processes carry out one session,
    each returns the report, and only the main one writes. `edited` names settings that are not those which the run
    began with.
    """
    main = session.compute.is_main
    with ExitStack() as held:
        if folder and main:
            held.enter_context(folder.held())
        monitor = Monitors(_monitors(session, display, folder) if main else [])
        held.callback(monitor.closed)
        held.enter_context(threads(session.config.threads or 1))
        held.enter_context(determinism(session.config.deterministic))
        store = Store(
            progress=folder.progress if folder else None,
            cache=cache,
            log=read_worklog(folder.worklog) if folder and main else WorkLog(),
            compute=session.compute,
            every=session.config.checkpoint,
            say=monitor.said,
            stop=stop or Stop(),
            despite_changes=despite_changes,
        )
        if edited:
            store.log.mixed_by(edited)
        tracking = Tracking(session, folder.path if folder else None) if main else None
        try:
            return _Course(session, monitor, folder if main else None, store, tracking).follow()
        except BaseException as error:
            _LOG.error("the run stopped: %s", error or type(error).__name__)
            if tracking:
                tracking.stopped(error)
            if folder and not isinstance(error, Changed):
                resume = f"rcframe run --resume {shlex.quote(str(folder.path))}"
                error.add_note(f"What was computed is kept. Go on with: {resume}")
            if operation := nondeterministic_operation(error):
                raise _not_deterministic(operation, error) from error
            raise


def _monitors(session: Session, display: Monitor, folder: RunFolder | None) -> list[Monitor]:
    return [display, *([Journal(folder)] if folder else [])]


def _not_deterministic(operation: str, error: BaseException) -> RunFailed:
    failed = RunFailed(
        f"`{operation}` has no deterministic implementation on this device, and --deterministic refuses it. "
        f"Leave --deterministic out, or use a network or method without that operation."
    )
    for note in getattr(error, "__notes__", ()):
        failed.add_note(note)
    return failed


@attrs.frozen
class _Course:
    """The steps of one run, in their order."""

    session: Session
    monitor: Monitor
    folder: RunFolder | None
    store: Store
    tracking: Tracking | None

    def follow(self) -> Report:
        session = self.session
        teacher = self._train_teacher()
        if self.folder:
            self.folder.save_teacher(teacher, architecture_of(session, "teacher"))
        share = session.config.budget
        oracle = ModelOracle(
            teacher,
            parse_access(session.config.access),
            None if share is None else share // session.compute.count,
        )
        student = self._train_student(oracle, teacher)
        if self.folder:
            self.folder.save_student(student, architecture_of(session, "student"))
        measured = measure(session, teacher, student, oracle.queries, self.store, self.monitor)
        if self.folder:
            self.folder.finish(measured.report, measured.evidence())
        if self.tracking:
            self.tracking.finished(measured.report)
        return measured.report

    def _train_teacher(self) -> nn.Module:
        assembly = self.session.assembly
        plan = functools.partial(self.session.parts.teacher.plan, assembly.teacher, assembly.teacher_run)
        keeper = RunKeeper(self.store, functools.partial(teacher_parts, self.session), chained=True)
        return freeze(self._execute(plan, keeper, "teacher") or assembly.teacher)

    def _train_student(self, oracle: ModelOracle, teacher: nn.Module) -> nn.Module:
        """Walk the phases of the student, rewritten by every pruner in turn."""
        run, parts = self.session.assembly.student_run, self.session.parts
        student = run.adopt(self.session.assembly.student)
        plan = functools.partial(_student_plan(parts, oracle, run), student)
        keeper = RunKeeper(self.store, functools.partial(student_parts, self.session, teacher), chained=True)
        return freeze(self._execute(lambda: _counting(plan(), oracle), keeper, "student") or student)

    def _execute(self, plan: Callable[[], Iterator[Stage]], keeper: Keeper, role: str) -> nn.Module | None:
        # A plan may draw random numbers before its first stage, already when it is asked for.
        seed_everything(self.session.config.seed, role, "plan")
        monitor = Monitors([self.monitor, self.tracking]) if self.tracking else self.monitor
        return execute(plan(), monitor, keeper, self.session.compute)


def _student_plan(parts: Parts, oracle: Oracle, run: Run) -> StudentPlan:
    def plan(student: nn.Module) -> Iterator[Stage]:
        return _phases(parts.students, student, oracle, run)

    whole: StudentPlan = plan
    for pruner in parts.pruners:
        whole = functools.partial(_rewritten, pruner, whole, run)
    return whole


def _rewritten(pruner: Pruner, plan: StudentPlan, run: Run, student: nn.Module) -> Iterator[Stage]:
    return pruner.rewrite(plan, student, run)


def _phases(strategies: tuple[StudentStrategy, ...], student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
    """Yield the stages of every phase; each starts from the student that the one before ended with."""
    for strategy in strategies:
        for stage in strategy.plan(student, teacher, run.reading(strategy.data)):
            yield stage
            student = stage.target


def _counting(plan: Iterator[Stage], oracle: ModelOracle) -> Iterator[Stage]:
    """Let the count of queries be kept with every stage that may ask."""
    for stage in plan:
        stage.players["queries to the teacher"] = oracle.queries
        yield stage

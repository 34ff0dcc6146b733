"""One run from configuration to report: load, check, train, save, measure."""

from __future__ import annotations

import logging
import math
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs

from rcframe.data.images import Dataset
from rcframe.data.prepare import default_root, prepare
from rcframe.errors import BudgetExceeded, RunFailed
from rcframe.evaluation.threat import Threat, make_threat
from rcframe.session.architecture import architecture_of
from rcframe.session.assemble import Assembly, Parts, Refusal, assemble, build_parts, refuse_with_alternative
from rcframe.session.config import RunConfig, label
from rcframe.session.devices import determinism, make_compute, nondeterministic_operation, resolve_threads, threads
from rcframe.session.folder import RunFolder
from rcframe.session.inner_attacks import unlike_measured
from rcframe.session.journal import Journal
from rcframe.session.measure import measure
from rcframe.session.report import Report
from rcframe.session.stopping import Stop
from rcframe.session.store import Changed, Store
from rcframe.session.tracking import Tracking
from rcframe.session.training import oracle_of, train_student, train_teacher
from rcframe.session.twins import Surrogates
from rcframe.session.worklog import WorkLog, read_worklog
from rcframe.storage.cache import Cache
from rcframe.training.compute import Compute
from rcframe.training.monitor import Monitor, Monitors

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
            return _Course(session, monitor, display, folder if main else None, store, tracking).follow()
        except BaseException as error:
            _LOG.error("the run stopped: %s", error or type(error).__name__)
            if tracking:
                tracking.stopped(error)
            if folder and not isinstance(error, Changed | BudgetExceeded):
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
    #: The part of the monitor that shows what happens and records nothing.
    display: Monitor
    folder: RunFolder | None
    store: Store
    tracking: Tracking | None

    def follow(self) -> Report:
        session, store = self.session, self.store
        training = Monitors([self.monitor, self.tracking]) if self.tracking else self.monitor
        for sentence in unlike_measured(session.config, session.parts, session.dataset.info.eps):
            self.monitor.said(sentence)
        teacher = train_teacher(session, store, training)
        if self.folder:
            self.folder.save_teacher(teacher, architecture_of(session, "teacher"))
        oracle = oracle_of(session, teacher)
        student = train_student(session, teacher, oracle, store, training)
        if self.folder:
            self.folder.save_student(student, architecture_of(session, "student"))
        surrogates = Surrogates(session, teacher, student, store, self.display)
        measured = measure(session, teacher, student, oracle.queries, store, self.monitor, surrogates)
        if self.folder:
            self.folder.finish(measured.report, measured.evidence())
        if self.tracking:
            self.tracking.finished(measured.report)
        return measured.report

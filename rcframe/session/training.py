"""Training both networks of a run: the teacher, and the student of its answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from torch import nn

from rcframe.access import parse_access
from rcframe.api import Pruner, StudentPlan, StudentStrategy
from rcframe.errors import RunFailed
from rcframe.evaluation.oracle import ModelOracle, Oracle
from rcframe.guarding import guarded_oracle
from rcframe.networks.modes import freeze
from rcframe.session.keeping import RunKeeper, student_parts, teacher_parts
from rcframe.session.store import Store
from rcframe.storage.keeper import Keeper, Work
from rcframe.training.context import Owner, Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.randomness import seed_everything
from rcframe.training.stage import Stage

if TYPE_CHECKING:
    from rcframe.session.assemble import Parts
    from rcframe.session.session import Session


def train_teacher(session: Session, store: Store, monitor: Monitor) -> nn.Module:
    """Walk the plan of the teacher; nothing is trained where it is brought."""
    assembly = session.assembly
    plan = functools.partial(session.parts.teacher.plan, assembly.teacher, assembly.teacher_run)
    keeper = RunKeeper(store, lambda work: teacher_parts(session, _owner(work)), chained=True)
    return freeze(_walk(session, plan, keeper, monitor, "teacher") or assembly.teacher)


def _owner(work: Work) -> Owner | None:
    return work.owner if isinstance(work, Stage) else None


def oracle_of(session: Session, teacher: nn.Module) -> ModelOracle:
    """Return the teacher as its student may ask it: with the access and the budget of the run."""
    config, compute = session.config, session.compute
    each = None if config.budget is None else len(compute.part(config.budget))
    return guarded_oracle(session.parts.teacher, teacher, parse_access(config.access), config.seed, compute, each)


def train_student(
    session: Session, teacher: nn.Module, oracle: ModelOracle, store: Store, monitor: Monitor
) -> nn.Module:
    """Walk the phases of the student, rewritten by every pruner in turn."""
    run = session.assembly.student_run
    student = run.adopt(session.assembly.student)
    plan = functools.partial(_student_plan(session.parts, oracle, run), student)
    keeper = RunKeeper(store, lambda _: student_parts(session, teacher), chained=True)
    finished = _walk(session, lambda: _counting(plan(), oracle), keeper, monitor, "student") or student
    _check_finished(session, finished)
    return freeze(finished)


def _check_finished(session: Session, finished: nn.Module) -> None:
    """Refuse a student that could not be built again: one that its strategy describes as something else."""
    described = session.assembly.finished_student
    if described is session.assembly.student or described.state_dict().keys() == finished.state_dict().keys():
        return
    raise RunFailed(
        f"The student `{session.config.students[-1]}` describes what it becomes, but the last stage left something "
        f"else: `{type(finished).__name__}`. A pruner that adds stages at the end drops what the student adds there."
    )


def _walk(
    session: Session, plan: Callable[[], Iterator[Stage]], keeper: Keeper, monitor: Monitor, role: str
) -> nn.Module | None:
    # A plan may draw random numbers before its first stage, already when it is asked for.
    seed_everything(session.config.seed, role, "plan")
    return execute(plan(), monitor, keeper, session.compute)


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

"""Jobs as tasks of Ray: Ray places them, and what a machine took with it is given again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from rcframe import Ended, Engine, Job, RequestError, at_least, component, option, run_job

if TYPE_CHECKING:
    from ray import ObjectRef

#: Seconds for jobs to keep their state when they are asked to stop; `run_job` kills them after 60.
_GRACE = 70.0


@component
class RayEngine(Engine):
    """Jobs as tasks of Ray, on an instance of its own on this machine or on the cluster at an address.

    Every machine of a cluster needs the same Python environment, and the folders of the runs under the same paths.
    """

    address: str = option(
        default="", help="The cluster, as in `head:6379`; none starts an instance on this machine.", positional=True
    )
    cpus: int = option(default=1, help="Processors, and threads, of a job.", check=at_least(1))
    gpus: float = option(default=0.0, help="GPUs of a job; 0.5 has two share one, and 0 hides them.", check=at_least(0))
    retries: int = option(
        default=1, help="How often a job that was killed, or lost with its machine, is given again.", check=at_least(0)
    )

    def __attrs_post_init__(self) -> None:
        if self.gpus > 1 and not float(self.gpus).is_integer():
            raise RequestError(f"Engine `ray` cannot give a job {self.gpus:g} GPUs: take a part of one, or whole ones.")

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        """Carry out the jobs, as many at once as the cluster has room for."""
        if not jobs:
            return
        from rcframe_ray.instance import connected

        with connected(self.address):
            self._refuse_too_large()
            yield from self._carry_out(jobs)

    def _refuse_too_large(self) -> None:
        """Refuse jobs for which no machine has room; on a cluster of others, one may still join."""
        import ray

        found: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        for what, asked, there in (
            ("processors", self.cpus, found.get("CPU", 0)),
            ("GPUs", self.gpus, found.get("GPU", 0)),
        ):
            if asked > there and not self.address:
                raise RequestError(f"A job is to have {asked:g} {what}, but Ray finds {there:g} on this machine.")

    def _carry_out(self, jobs: Sequence[Job]) -> Iterator[Ended]:
        import ray

        given: dict[ObjectRef[Ended], _Given] = {}
        try:
            for job in jobs:
                given[self._give(job)] = _Given(job)
            while given:
                (task,), _ = ray.wait(list(given), num_returns=1)
                last = given.pop(task)
                outcome = _outcome_of(task, last.job)
                if outcome.lost and last.times <= self.retries:
                    given[self._give(last.job)] = _Given(last.job, last.times + 1)
                else:
                    yield outcome.ended
        finally:
            _stop(list(given))

    def _give(self, job: Job) -> ObjectRef[Ended]:
        import ray

        # Ray would give again only what was lost with its machine, and not what the system killed on it.
        task = ray.remote(_carried_out).options(
            name=job.name, num_cpus=self.cpus, num_gpus=self.gpus, max_retries=0, retry_exceptions=False
        )
        return task.remote(job, self.cpus, self._environment())

    def _environment(self) -> dict[str, str]:
        """Return the settings of rcframe that count here, for machines that were started without them."""
        settings = {name: value for name, value in os.environ.items() if name.startswith("RCFRAME_")}
        return settings if self.gpus else {**settings, "CUDA_VISIBLE_DEVICES": ""}


@attrs.frozen
class _Given:
    """A job that a task of Ray has, and how often it was given to one."""

    job: Job
    times: int = 1


@attrs.frozen
class _Outcome:
    """How a job ended, and whether that was none of its own doing."""

    ended: Ended
    lost: bool


def _carried_out(job: Job, threads: int, settings: dict[str, str]) -> Ended:
    """Carry out a job where Ray has placed it."""
    ended = run_job(attrs.evolve(job, environment={**settings, **job.environment}), threads=threads)
    return attrs.evolve(ended, job=job)


def _outcome_of(task: ObjectRef[Ended], job: Job) -> _Outcome:
    import ray
    from ray import exceptions

    lost = (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.OutOfMemoryError,
        exceptions.ObjectLostError,
    )
    try:
        ended = ray.get(task)
    except lost as error:
        return _Outcome(Ended(job, None, f"the machine or process that carried it out was lost: {_first(error)}"), True)
    except exceptions.RayError as error:
        return _Outcome(Ended(job, None, f"Ray could not carry it out: {_first(error)}"), False)
    return _Outcome(ended, ended.killed)


def _first(error: Exception) -> str:
    """Return the first sentence of what an error says; what follows in those of Ray is for those who debug Ray."""
    cause = getattr(error, "cause", None)
    said = str(cause or error).strip().splitlines()
    return said[0].partition(". ")[0].rstrip(".") if said else type(error).__name__


def _stop(tasks: list[ObjectRef[Ended]]) -> None:
    """Interrupt tasks and wait until their jobs have kept their state."""
    import ray

    for task in tasks:
        ray.cancel(task)
    if tasks:
        ray.wait(tasks, num_returns=len(tasks), timeout=_GRACE)

"""Jobs as jobs of Slurm: Slurm places them, and those that ran out of time or had to make room go on."""

from __future__ import annotations

import logging
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from rcframe import Ended, Engine, Job, RequestError, RunFailed, at_least, component, option

if TYPE_CHECKING:
    from submitit import AutoExecutor, Job as Placed

#: Jobs of one array; Slurm takes 1001 unless told otherwise.
_MOST = 1000
#: Seconds between two looks at the files of all jobs; submitit asks Slurm itself far less often.
_LOOK = {"slurm": 5.0, "local": 0.1}
#: The same while jobs end that were cancelled, of which Slurm is asked every time.
_CLOSING_LOOK = 1.0
#: Seconds for jobs to end that were cancelled; Slurm kills them after 30 unless told otherwise.
_GRACE = 40.0
#: How a run ends that was asked to stop, by Slurm for instance.
_ASKED_TO_STOP = 130


@component
class SlurmEngine(Engine):
    """Jobs of a Slurm cluster, submitted as arrays from a machine that has `sbatch`.

    The folders of the runs and the Python environment must be under the same paths on all machines.
    """

    partition: str = option(default="", help="Slurm's partition; none leaves it to Slurm.", positional=True)
    minutes: int = option(
        default=60, help="Time limit of a job; one that needs longer goes on anew.", check=at_least(1)
    )
    cpus: int = option(default=1, help="Processors, and threads, of a job.", check=at_least(1))
    memory: int = option(default=0, help="Memory of a job in GB; 0 leaves it to Slurm.", check=at_least(0))
    gpus: int = option(default=0, help="GPUs of a job; 0 hides them.", check=at_least(0))
    parallel: int = option(default=16, help="Jobs at once.", check=at_least(1))
    retries: int = option(
        default=3,
        help="How often a job is given again that ran out of time, was killed or was lost.",
        check=at_least(0),
    )
    cluster: Literal["slurm", "local"] = option(
        default="slurm", help="`local` takes this machine instead of Slurm, to try things out."
    )

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        """Carry out the jobs; what submitit writes goes below `place`."""
        if not jobs:
            return
        executor = self.executor(place)
        # Off Slurm nobody else limits how many run at once.
        size = _MOST if self.cluster == "slurm" else self.parallel
        for start in range(0, len(jobs), size):
            yield from self._carry_out(executor, jobs[start : start + size])

    def executor(self, place: Path) -> AutoExecutor:
        """Return what submits jobs with the options of this engine."""
        if self.cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            raise RequestError(
                "Engine `slurm` needs `sbatch` and `srun`, which are not on this machine. Start it on a machine of the "
                "cluster, or try it out with `slurm:cluster=local`."
            )
        folder = place / "slurm"
        executor = _executor(folder, self.cluster, self.retries)
        # Jobs are unpickled from here: nobody else may write.
        folder.chmod(0o700)
        executor.update_parameters(
            name="rcframe",
            timeout_min=self.minutes,
            cpus_per_task=self.cpus,
            mem_gb=self.memory or None,
            gpus_per_node=self.gpus or None,
            slurm_partition=self.partition or None,
            slurm_array_parallelism=self.parallel,
        )
        return executor

    def _carry_out(self, executor: AutoExecutor, jobs: Sequence[Job]) -> Iterator[Ended]:
        given: list[_Given] = []
        try:
            given += self._give(executor, [(job, 1) for job in jobs])
            while given:
                over = [one for one in given if one.placed.done()]
                again = []
                for one in over:
                    given.remove(one)
                    outcome = _outcome_of(one)
                    if outcome.lost and one.times <= self.retries:
                        again.append((one.job, one.times + 1))
                    else:
                        yield outcome.ended
                given += self._give(executor, again)
                if not over:
                    time.sleep(_LOOK[self.cluster])
        finally:
            _cancel([one.placed for one in given])

    def _give(self, executor: AutoExecutor, jobs: Sequence[tuple[Job, int]]) -> list[_Given]:
        """Submit jobs, each for the so-manieth time, as one array."""
        if not jobs:
            return []
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        from rcframe_slurm.carrier import Carrier

        settings = {} if self.gpus else {"CUDA_VISIBLE_DEVICES": ""}
        try:
            with executor.batch():
                placed = [executor.submit(Carrier(job, self.cpus, settings)) for job, _ in jobs]
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            raise RunFailed(f"Slurm did not take the jobs: {_last_line(error)}") from error
        return [_Given(job, one, times) for (job, times), one in zip(jobs, placed, strict=True)]


@attrs.frozen
class _Given:
    """A job that Slurm has, and how often it was given to it."""

    job: Job
    placed: Placed[Ended]
    times: int


@attrs.frozen
class _Outcome:
    """How a job ended, and whether that was none of its own doing."""

    ended: Ended
    lost: bool


def _executor(folder: Path, cluster: str, timeouts: int) -> AutoExecutor:
    try:
        from submitit import AutoExecutor
    except ImportError as error:
        raise RequestError(
            f"Engine `slurm` needs submitit, which cannot be imported ({error}): pip install submitit."
        ) from error
    # It tells of every question to Slurm that failed, on standard output, where results belong.
    logging.getLogger("submitit").setLevel(logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    return AutoExecutor(folder, cluster=cluster, slurm_max_num_timeout=timeouts, local_max_num_timeout=timeouts)


def _outcome_of(given: _Given) -> _Outcome:
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        ended = given.placed.result()
    except FailedJobError as error:
        return _Outcome(Ended(given.job, None, _why(error)), False)
    except UncompletedJobError:
        state = given.placed.state
        return _Outcome(Ended(given.job, None, f"it ended without a result ({state})"), not _cancelled(state))
    asked = ended.code == _ASKED_TO_STOP and not _cancelled(given.placed.get_info(mode="force").get("State", ""))
    return _Outcome(ended, ended.killed or asked)


def _why(error: Exception) -> str:
    """Return what is told by the trace that submitit passes on."""
    said = [line for line in str(error).splitlines() if "Error: " in line]
    reason = said[-1].partition("Error: ")[2] if said else ""
    if "timed-out" in reason:
        return "it ran out of time too often; its state is kept, and given again it goes on"
    return reason or "its process on the cluster failed"


def _cancelled(state: str) -> bool:
    """Return whether somebody took a job away; what makes room for others is preempted."""
    return state.upper().startswith("CANCELLED")


def _last_line(error: Exception) -> str:
    said = str(error).strip().splitlines()
    return said[-1] if said else type(error).__name__


def _cancel(placed: list[Placed[Ended]]) -> None:
    """Cancel jobs and wait until they have kept their state."""
    from submitit import SlurmJob

    if ids := [one.job_id for one in placed if isinstance(one, SlurmJob)]:
        subprocess.run(["scancel", *ids], check=False, capture_output=True)
    else:
        for one in placed:
            one.cancel(check=False)
    deadline = time.monotonic() + _GRACE
    while placed and time.monotonic() < deadline:
        # Slurm is asked about all at once.
        placed[0].get_info(mode="force")
        placed = [one for one in placed if not _gone(one)]
        time.sleep(_CLOSING_LOOK if placed else 0)


def _gone(placed: Placed[Ended]) -> bool:
    """Return whether nothing of a cancelled job is left."""
    from submitit import SlurmJob

    # Slurm calls a job cancelled while it still ends. What has not started leaves no result.
    ends = isinstance(placed, SlurmJob) and placed.paths.stdout.exists() and not placed.paths.result_pickle.exists()
    return placed.done() and not ends

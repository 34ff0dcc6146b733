"""What Slurm runs for a job: rcframe, and its end in good time before Slurm takes the machine back."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor

import attrs
from submitit.core.utils import DelayedSubmission

from rcframe import Ended, Job, Running, run_job

#: Seconds for a job to keep its state; submitit is told of a near end 90 s before it.
_GRACE = 60.0
#: Seconds that submitit leaves a job of its local executor when that is cancelled, less some for us.
_BRIEFLY = 0.7


@attrs.define(slots=False)
class Carrier:
    """Carries out a job where Slurm has placed it; what submitit stores and calls."""

    job: Job
    threads: int
    #: Settings that weigh less than those of the job.
    settings: dict[str, str]
    _running: Running | None = attrs.field(default=None, init=False)

    def __call__(self) -> Ended:
        """Carry out the job and return how it ended."""
        running = self._running = Running()
        job = attrs.evolve(self.job, environment={**self.settings, **self.job.environment})
        with ThreadPoolExecutor(1, initializer=_leave_time_signals_to_submitit) as pool:
            # In a thread, since submitit interrupts the main one to call `checkpoint`.
            carried_out = pool.submit(run_job, job, threads=self.threads, among=running)
            try:
                return attrs.evolve(carried_out.result(), job=self.job)
            except BaseException:
                running.end(_BRIEFLY)
                raise

    def checkpoint(self) -> DelayedSubmission:
        """Have the job keep its state, since its time is nearly up or others need the machine; return what goes on."""
        if self._running:
            self._running.end(_GRACE)
        return DelayedSubmission(Carrier(self.job, self.threads, self.settings))


def _leave_time_signals_to_submitit() -> None:
    """Block, for this thread and the job that it starts, the signal that Slurm sends to all processes at once.

    It would kill the job before submitit can ask it to keep its state.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})

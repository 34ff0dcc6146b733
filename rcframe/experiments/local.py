"""Jobs as processes of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

import attrs

from rcframe.api import Engine
from rcframe.jobs import Ended, Job, Running, hears_of_children, run_job
from rcframe.options import at_least, component, option

#: More at once by default would rather fill the memory than save time.
_MOST = 8


@component
class LocalEngine(Engine):
    """Several jobs at once on this machine, each a process of its own, with the processors divided among them."""

    workers: int = option(
        default=0, help="Jobs at once; 0 is one for each processor, at most 8.", check=at_least(0), positional=True
    )
    gpus: tuple[int, ...] = option(
        default=(),
        help="Numbers of the GPUs that the workers take in turn; without any, all see all.",
        check=at_least(0),
    )
    retries: int = option(default=1, help="How often a job that was killed is given again.", check=at_least(0))

    def carry_out(self, jobs: Sequence[Job], place: Path) -> Iterator[Ended]:
        """Carry out the jobs, as many at once as there are workers."""
        if not jobs:
            return
        processors = available_processors()
        workers = min(self.workers or min(processors, _MOST), len(jobs))
        share = _Share(max(1, processors // workers), self._gpus_of(workers))
        running = Running()
        # Workers are threads, which could not change it.
        hears_of_children()
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(self._persist, job, share, running) for job in jobs]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()
                running.end()

    def _gpus_of(self, workers: int) -> SimpleQueue[str | None]:
        """Return what each worker takes before a job and puts back after it."""
        places: SimpleQueue[str | None] = SimpleQueue()
        for worker in range(workers):
            places.put(str(self.gpus[worker % len(self.gpus)]) if self.gpus else None)
        return places

    def _persist(self, job: Job, share: _Share, running: Running) -> Ended:
        """Carry out one job, and again as long as it is killed."""
        gpu = share.gpus.get()
        environment = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu}
        given = 0
        try:
            while True:
                ended = run_job(job, threads=share.threads, environment=environment, among=running)
                given += 1
                if not ended.killed or running.stopped or given > self.retries:
                    return ended
        finally:
            share.gpus.put(gpu)


@attrs.frozen
class _Share:
    """What a worker gets of the machine."""

    threads: int
    gpus: SimpleQueue[str | None]


def available_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

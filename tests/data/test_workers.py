from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch

from rcframe.data.images import Batch
from rcframe.data.workers import Fetch, fetched_ahead
from rcframe.errors import AccessDenied, RcframeError, RunFailed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere workers cannot be given functions of a test")

Trouble = Callable[[], object]


def numbered(position: int) -> Batch:
    return Batch(torch.full((2, 1, 3, 3), position / 10), torch.tensor([position, position]), share=position / 4)


def processes(position: int) -> Batch:
    return Batch(y=torch.tensor([os.getpid()]))


def failing_at(position: int, trouble: Trouble) -> Fetch:
    def fetch(wanted: int) -> Batch:
        if wanted == position:
            trouble()
        return numbered(wanted)

    return fetch


def ahead(fetch: Fetch, positions: range, workers: int = 2) -> list[Batch]:
    return list(fetched_ahead(fetch, positions, workers, torch.Generator()))


def raise_it(error: Exception) -> Trouble:
    def trouble() -> None:
        raise error

    return trouble


def positions_of(batches: list[Batch]) -> list[int]:
    return [int(batch.labels[0]) for batch in batches]


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("positions", [range(7), range(4, 7), range(6, 7), range(7, 7)])
def test_batches_come_in_their_order_and_whole(workers: int, positions: range) -> None:
    batches = ahead(numbered, positions, workers)
    assert positions_of(batches) == list(positions)
    for position, batch in zip(positions, batches, strict=True):
        assert torch.equal(batch.images, numbered(position).images)
        assert batch.labels.tolist() == [position, position]
        assert batch.share == position / 4


def test_batches_without_images_stay_without() -> None:
    assert ahead(lambda position: Batch(), range(3)) == [Batch()] * 3


@pytest.mark.parametrize(("workers", "count", "expected"), [(1, 4, 1), (2, 4, 2), (3, 2, 2)])
def test_as_many_other_processes_work_as_were_asked_for_and_have_work(workers: int, count: int, expected: int) -> None:
    batches = fetched_ahead(processes, range(count), workers, torch.Generator())
    first = next(batches)
    started = {worker.pid for worker in multiprocessing.active_children()}
    assert len(started) == expected
    assert set(positions_of([first, *batches])) == started


def test_no_global_generator_is_touched() -> None:
    before, python, numpy = torch.get_rng_state(), random.getstate(), np.random.get_state()
    ahead(numbered, range(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python
    assert all(np.array_equal(one, two) for one, two in zip(np.random.get_state(), numpy, strict=True))


def test_workers_draw_what_their_seed_says() -> None:
    def draws(seed: int) -> list[float]:
        source = torch.Generator().manual_seed(seed)
        batches = fetched_ahead(lambda position: Batch(torch.rand(1, 1, 1, 1)), range(4), 2, source)
        return [float(batch.images) for batch in batches]

    assert draws(1) == draws(1)
    assert draws(1) != draws(2)


def test_workers_end_with_the_last_batch() -> None:
    ahead(numbered, range(3))
    assert multiprocessing.active_children() == []


def test_workers_end_when_their_iterator_is_closed() -> None:
    batches = fetched_ahead(numbered, range(50), 2, torch.Generator())
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


def refused(fetch: Fetch) -> RcframeError:
    """How fetching ten batches fails; no worker may be left although the error is still at hand."""
    with pytest.raises(RcframeError) as caught:
        ahead(fetch, range(10))
    assert multiprocessing.active_children() == []
    return caught.value


@pytest.mark.parametrize("error", [RunFailed("The image `a.png` is gone."), AccessDenied("Not for you.")])
def test_errors_of_ours_come_through_as_they_are(error: RcframeError) -> None:
    found = refused(failing_at(3, raise_it(error)))
    assert type(found) is type(error)
    assert str(found) == str(error)


def test_batches_before_an_error_are_not_lost() -> None:
    batches = fetched_ahead(failing_at(3, raise_it(RunFailed("Bad luck."))), range(10), 2, torch.Generator())
    assert positions_of([next(batches) for _ in range(3)]) == [0, 1, 2]
    with pytest.raises(RunFailed, match="Bad luck"):
        next(batches)


def test_other_errors_become_a_sentence() -> None:
    found = refused(failing_at(3, raise_it(ValueError("odd\n  pixels"))))
    assert type(found) is RunFailed
    assert str(found) == (
        "A data worker could not fetch a batch (ValueError: odd pixels). Run with --workers 0 to see where that comes "
        "from."
    )


@pytest.mark.parametrize(
    ("trouble", "end"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by signal 9; often memory"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "killed by signal 15"),
        (lambda: os._exit(3), r"process \d+ ended with status 3"),
    ],
)
def test_a_worker_that_died_is_reported_at_the_next_batch_and_no_earlier(trouble: Trouble, end: str) -> None:
    now = multiprocessing.Event()

    def later() -> None:
        now.wait()
        trouble()

    batches = fetched_ahead(failing_at(3, later), range(50), 2, torch.Generator())
    next(batches)
    now.set()
    while len(multiprocessing.active_children()) == 2:
        time.sleep(0.01)
    with pytest.raises(
        RunFailed, match=rf"^A data worker died \({end}\)\. Lower --workers or the batch size\.$"
    ) as died:
        next(batches)
    assert died.value.exit_code == 1
    assert multiprocessing.active_children() == []


# The library looks after its workers every five seconds while it waits for one.
@pytest.mark.slow
def test_a_worker_that_dies_while_it_is_waited_for_is_reported() -> None:
    found = refused(failing_at(0, lambda: os.kill(os.getpid(), signal.SIGKILL)))
    assert str(found).startswith("A data worker died (killed by signal 9; often memory).")


def test_full_shared_memory_ends_the_run_instead_of_hanging_it() -> None:
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, 16))

    with pytest.raises(RunFailed, match=r"no room for a batch in shared memory.*Lower --workers or the batch size"):
        raise refused(failing_at(3, no_room))


def test_workers_that_cannot_be_started_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    with pytest.raises(
        RunFailed, match=r"workers could not be started \(.*temporarily unavailable\)\. Lower --workers"
    ):
        raise refused(numbered)


def test_ctrl_c_is_left_to_the_main_process() -> None:
    # Whoever runs the tests may have them ignore it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        batches = fetched_ahead(numbered, range(20), 2, torch.Generator())
        found = [next(batches), next(batches)]
        for worker in multiprocessing.active_children():
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGINT)
        assert positions_of([*found, *batches]) == list(range(20))
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_answer_to_the_end_of_other_children_stays_the_callers() -> None:
    before = signal.getsignal(signal.SIGCHLD)
    batches = fetched_ahead(numbered, range(5), 2, torch.Generator())
    next(batches)
    assert signal.getsignal(signal.SIGCHLD) is before
    batches.close()
    assert signal.getsignal(signal.SIGCHLD) is before


@pytest.mark.filterwarnings("error")
def test_many_workers_are_started_without_a_warning() -> None:
    assert positions_of(ahead(numbered, range(5), 5)) == list(range(5))

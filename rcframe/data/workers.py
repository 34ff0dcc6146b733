"""Batches fetched ahead of the training by other processes."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

import attrs
from torch import Generator as Randomness, Tensor
from torch.utils.data import DataLoader, Dataset

from rcframe.data.images import Batch
from rcframe.errors import RcframeError, RunFailed

#: What to do about workers that fail.
_REMEDY = "Lower --workers or the batch size."
#: What a signal that ends a worker often means.
_OFTEN = {9: "; often memory", 7: "; often a full /dev/shm"}

_LAST_MOMENT_SECONDS = 2.0
#: Forked workers share the images in memory with this process instead of getting copies in every epoch.
_START = "fork" if sys.platform == "linux" else None

#: Returns the batch at a position of an epoch.
Fetch = Callable[[int], Batch]
#: What a worker hands over. An error of ours comes as a value: raised, it would lose its text among tracebacks.
_Item = Batch | RcframeError


def fetched_ahead(
    fetch: Fetch, positions: Sequence[int], workers: int, randomness: Randomness, pin: bool = False
) -> Generator[Batch, None, None]:
    """Yield `fetch` of the positions in their order, computed by `workers` processes that end with this iterator.

    `randomness` seeds the workers' own generators; `pin` puts the batches into page-locked memory.
    """
    if not positions:
        return
    with warnings.catch_warnings():
        # Workers that wait for a slow disk may well outnumber the processor's cores.
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            _Items(fetch),
            batch_size=None,
            sampler=positions,
            num_workers=min(workers, len(positions)),
            generator=randomness,
            pin_memory=pin,
            multiprocessing_context=_START,
            worker_init_fn=_ignore_interrupts,
        )
        crew = _Crew(loader)
    try:
        for _ in positions:
            yield crew.next()
    finally:
        crew.close()


def _ignore_interrupts(worker: int) -> None:
    """Leave Ctrl-C, which reaches every process of a terminal, to the process that can save the run."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class _Items(Dataset[_Item]):
    """The batches of an epoch by position, as a worker fetches them."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def __getitem__(self, position: int) -> _Item:
        try:
            batch = self._fetch(position)
        except RcframeError as error:
            return error
        # A data set of a plugin fails in its own way.
        except Exception as error:
            return RunFailed(
                f"A data worker could not fetch a batch ({_in_words(error)}). "
                "Run with --workers 0 to see where that comes from."
            )
        return _shared(batch)


def _shared(batch: Batch) -> _Item:
    """Move a batch to shared memory here: in the queue's own thread a failure would be lost, and the run would hang."""
    try:
        # The places are part of the order of the whole epoch, which need not come along with every batch.
        index = None if batch.index is None else batch.index.clone()
        return attrs.evolve(batch, x=_shared_tensor(batch.x), y=_shared_tensor(batch.y), index=_shared_tensor(index))
    except (OSError, RuntimeError) as error:
        return RunFailed(
            f"A data worker found no room for a batch in shared memory, /dev/shm ({_in_words(error)}). {_REMEDY}"
        )


def _shared_tensor(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.share_memory_()  # type: ignore[no-untyped-call]


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _started(loader: DataLoader[_Item]) -> Iterator[_Item] | None:
    """Start the workers. As in `_Crew`, no error is kept: its traceback would hold on to workers that still live."""
    try:
        with _own_child_signals():
            return iter(loader)
    except (OSError, RuntimeError) as error:
        reason = _in_words(error)
    raise RunFailed(f"The data workers could not be started ({reason}). {_REMEDY}")


class _Crew:
    """The worker processes of one epoch."""

    def __init__(self, loader: DataLoader[_Item]) -> None:
        others = multiprocessing.active_children()
        self._stream = _started(loader)
        self._processes = [child for child in multiprocessing.active_children() if child not in others]

    def next(self) -> Batch:
        """Return the next batch, or raise what kept a worker from fetching it."""
        item = self._failure() or self._received()
        if isinstance(item, RcframeError):
            raise item
        return item

    def _received(self) -> _Item:
        assert self._stream is not None
        try:
            return next(self._stream)
        # All of them say that a worker or a message was lost.
        except (RuntimeError, OSError, EOFError) as error:
            reason = _in_words(error)
        # A broken connection may show before the end of the worker that broke it.
        wait([process.sentinel for process in self._processes], _LAST_MOMENT_SECONDS)
        return self._failure() or RunFailed(f"The data workers failed ({reason}). {_REMEDY}")

    def _failure(self) -> RunFailed | None:
        """Say how a worker died, if one did."""
        for process in self._processes:
            if process.exitcode is not None:
                return RunFailed(f"A data worker died ({_end(process, process.exitcode)}). {_REMEDY}")
        return None

    def close(self) -> None:
        """End the workers: they live as long as the library's iterator."""
        self._stream = None


def _end(process: BaseProcess, code: int) -> str:
    if code < 0:
        return f"killed by signal {-code}{_OFTEN.get(-code, '')}"
    return f"process {process.pid} ended with status {code}"


@contextmanager
def _own_child_signals() -> Iterator[None]:
    """Keep the process's own answer to the end of a child.

    The library installs one that raises wherever the training happens to be; `_Crew` looks after its workers itself.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)

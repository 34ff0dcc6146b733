"""Choosing a device, a precision and processor threads, and holding torch to exact repetition."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rcframe.api import Precision
from rcframe.errors import RequestError
from rcframe.jobs import THREAD_SHARE
from rcframe.training.compute import Accelerated, Compute

#: Images with fewer numbers than this are so quickly done that threads would mostly wait for each other.
_SMALL_IMAGE = 1024
#: Without this, matrix products on a GPU may add up in another order each time.
_CUBLAS = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def make_compute(device: str, precision: Precision) -> Compute:
    """Return where a run trains; `torchrun` says in the environment how many processes there are."""
    chosen = resolve_device(device)
    if precision == "fp32" and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Compute(chosen)
    return Accelerated(chosen, precision)


def resolve_threads(asked: int | None, numbers_per_image: int) -> int:
    """Return how many processor threads to use: one for small images, unless the user or OMP_NUM_THREADS says more.

    What a job gets as its share by OMP_NUM_THREADS says no more: it trains with the threads it would have had alone.
    """
    wanted = "OMP_NUM_THREADS" in os.environ and THREAD_SHARE not in os.environ
    small = numbers_per_image < _SMALL_IMAGE and not wanted
    return asked or (1 if small else torch.get_num_threads())


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use `count` processor threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def determinism(strict: bool) -> Iterator[None]:
    """Refuse, for a while, every operation whose result may differ from one time to the next."""
    if not strict:
        yield
        return
    before = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    os.environ.setdefault(*_CUBLAS)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before[0])
        torch.backends.cudnn.benchmark = before[1]


def nondeterministic_operation(error: BaseException) -> str | None:
    """Return the operation that strict determinism refused, if that is what an error says."""
    text = str(error)
    if isinstance(error, RuntimeError) and "does not have a deterministic implementation" in text:
        return text.split(" does not have", 1)[0].strip()
    return None


def resolve_device(asked: str) -> torch.device:
    """Return the device a user asked for; `auto` prefers CUDA, then MPS, then the CPU."""
    if asked == "auto":
        return torch.device(_best())
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise RequestError(f"No device `{asked}`. Devices: auto, cpu, cuda, cuda:1, mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"Device `{asked}` is not there: this machine has {torch.cuda.device_count()} CUDA devices. "
            f"Use --device auto or cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError("Device `mps` is not there on this machine. Use --device auto or cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise RequestError(f"Device `{asked}` is not supported. Devices: auto, cpu, cuda, cuda:1, mps.")
    return device


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

"""Choosing a device, and how many processor threads to use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rcframe.errors import RequestError

#: Images with fewer numbers than this are so quickly done that threads would mostly wait for each other.
_SMALL_IMAGE = 1024


@contextmanager
def threads_for(asked: int | None, numbers_per_image: int) -> Iterator[None]:
    """Use `asked` processor threads for a while; None takes one for small images, unless OMP_NUM_THREADS says more."""
    before = torch.get_num_threads()
    small = numbers_per_image < _SMALL_IMAGE and "OMP_NUM_THREADS" not in os.environ
    torch.set_num_threads(asked or (1 if small else before))
    try:
        yield
    finally:
        torch.set_num_threads(before)


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

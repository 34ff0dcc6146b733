"""Telling a lack of memory from other errors."""

from __future__ import annotations

import torch

#: What allocators say that raise a plain RuntimeError: torch's on the CPU and on MPS, and CUDA's own.
_WORDS = ("can't allocate memory", "not enough memory", "out of memory")


def out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the device or the machine has no memory left."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)


def free_memory() -> None:
    """Give back what the device's allocator keeps in reserve."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

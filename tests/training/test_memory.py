from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from rcframe.errors import RunFailed
from rcframe.training.memory import free_memory, out_of_memory

HUGE = 1 << 50


@pytest.mark.parametrize(
    "allocate",
    [lambda: torch.empty(HUGE), lambda: np.empty(HUGE), lambda: bytearray(HUGE)],
    ids=["torch", "numpy", "python"],
)
def test_what_cannot_be_allocated_is_a_lack_of_memory(allocate: Callable[[], object]) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    assert out_of_memory(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.02 GB, max allowed: 9.07 GB)."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory"),
    ],
    ids=str,
)
def test_what_other_allocators_say_is_a_lack_of_memory(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (4x64 and 32x3)"),
        RunFailed("Stage `train` ran out of memory"),
        ValueError("out of memory"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_other_errors_are_not(error: BaseException) -> None:
    assert not out_of_memory(error)


def test_memory_can_be_freed_anywhere() -> None:
    kept = torch.ones(3)
    free_memory()
    assert torch.equal(kept, torch.ones(3))

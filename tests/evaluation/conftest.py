from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import pytest
import torch
from torch import Tensor

from rcframe.training.compute import Compute


class InParallel(Protocol):
    """Calls a function in so many threads that stand for processes, each with the compute of one."""

    def __call__(self, count: int, measure: Callable[[Compute], None]) -> None: ...


class Together(Compute):
    """One of several threads that stand for processes: sums are taken over all of them."""

    def __init__(self, index: int, count: int, meeting: threading.Barrier, slots: dict[int, Tensor]) -> None:
        super().__init__()
        self.index, self.count = index, count
        self._meeting, self._slots = meeting, slots

    def total(self, tensor: Tensor) -> Tensor:
        self._slots[self.index] = tensor
        self._meeting.wait(30)
        total = torch.stack([self._slots[index] for index in range(self.count)]).sum(dim=0)
        self._meeting.wait(30)
        return total


def call_in_parallel(count: int, measure: Callable[[Compute], None]) -> None:
    meeting, slots, errors = threading.Barrier(count), dict[int, Tensor](), list[BaseException]()

    def process(index: int) -> None:
        try:
            measure(Together(index, count, meeting, slots))
        except BaseException as error:
            errors.append(error)
            meeting.abort()

    threads = [threading.Thread(target=process, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.fixture
def in_parallel() -> InParallel:
    """Processes that share the work, as far as sums over them go."""
    return call_in_parallel

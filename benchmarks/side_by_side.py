"""Timing two ways of doing one thing, in turn, so that a noisy machine troubles both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import attrs


@attrs.frozen
class Ratio:
    """How much longer `ours` took than `theirs`, pair by pair."""

    what: str
    ours: list[float]
    theirs: list[float]

    @property
    def median(self) -> float:
        """The median of the ratios of neighbouring runs."""
        return statistics.median(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def best(self) -> float:
        """The ratio of the fastest runs, which noise can only lengthen."""
        return min(self.ours) / min(self.theirs)

    def row(self, bar: float) -> str:
        """A line for a Markdown table."""
        seconds = f"{statistics.median(self.ours):.3f} | {statistics.median(self.theirs):.3f}"
        return f"| {self.what} | {seconds} | {self.median:.3f} | {self.best:.3f} | {bar:.2f} |"


HEADER = "| what | ours, s | by hand, s | median ratio | ratio of fastest | bar |\n|---|---|---|---|---|---|"


def compare(
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Ratio:
    """Time both `runs` times, in pairs whose first changes, after one run of each that is not counted."""
    ours(), theirs()
    mine: list[float] = []
    hers: list[float] = []
    for number in range(runs):
        order = [(ours, mine), (theirs, hers)]
        for function, times in order if number % 2 else reversed(order):
            started = clock()
            function()
            times.append(clock() - started)
    return Ratio(what, mine, hers)

"""Timing two ways of doing one thing, in turn, so that a noisy machine troubles both alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from statistics import NormalDist

import attrs

#: A training that calls what it is given at the end of every epoch.
Training = Callable[[Callable[[], None]], object]


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
    def interval(self) -> tuple[float, float]:
        """Where the median of ratios lies in 95% of such measurements, by order statistics; nothing is assumed."""
        ratios = sorted(a / b for a, b in zip(self.ours, self.theirs, strict=True))
        halves = NormalDist(len(ratios) / 2, math.sqrt(len(ratios)) / 2)
        rank = max(int(halves.inv_cdf(0.025)) - 1, 0)
        return ratios[rank], ratios[-1 - rank]

    @property
    def best(self) -> float:
        """The ratio of the fastest runs, which noise can only lengthen."""
        return min(self.ours) / min(self.theirs)

    def row(self, bar: float) -> str:
        """A line for a Markdown table."""
        seconds = f"{statistics.median(self.ours):.3f} | {statistics.median(self.theirs):.3f}"
        low, high = self.interval
        return f"| {self.what} | {seconds} | {self.median:.3f} [{low:.3f}, {high:.3f}] | {self.best:.3f} | {bar:.2f} |"


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


def in_turn(what: str, ours: Training, theirs: Iterator[object]) -> Ratio:
    """Let two trainings go on in turn, an epoch each, so that a machine which is slow for a while is slow for both.

    `theirs` yields at the end of every epoch. Seconds are those of the process; the first epoch of each, in which it
    also sets up, does not count.
    """
    mine: list[float] = []
    hers: list[float] = []
    started = time.process_time()

    def ended() -> None:
        nonlocal started
        now = time.process_time()
        mine.append(now - started)
        next(theirs)
        started = time.process_time()
        hers.append(started - now)

    ours(ended)
    return Ratio(what, mine[1:], hers[1:])

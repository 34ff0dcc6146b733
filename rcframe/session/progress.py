"""What a user sees while a run works: one live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from rich.progress import Task

    from rcframe.training.stage import Stage

_REFRESH_SECONDS = 0.2
_LINE_SECONDS = 5.0


class _Throughput(ProgressColumn):
    """Images per second since the task began; the bar itself may count batches."""

    def render(self, task: Task) -> Text:
        passed = task.finished_time or task.elapsed
        speed = task.fields["images"] / passed if passed else 0
        return Text(f"{speed:,.0f} images/s" if speed else "", style="progress.data.speed")


def make_display(quiet: bool, stream: TextIO | None = None) -> Monitor:
    """Return the display that fits: none when quiet, live on a terminal, lines otherwise."""
    if quiet:
        return Monitor()
    console = Console(file=stream or sys.stderr, emoji=False)
    return LiveDisplay(console) if console.is_terminal else LineDisplay(stream or sys.stderr)


class LiveDisplay(Monitor):
    """A bar per stage and measurement, with loss, accuracy, throughput and time left."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            _Throughput(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[metrics]}"),
            console=console,
        )
        self._task: TaskID | None = None
        self._pending, self._images, self._total, self._updated = 0, 0, 0, 0.0

    def _start(self, what: str, total: int) -> None:
        self._progress.start()
        self._flush()
        self._images, self._total = 0, total
        self._task = self._progress.add_task(what, total=total, metrics="", images=0)

    def _advance(self, steps: int, images: int) -> None:
        """Move the bar, but not more often than the eye sees: drawing must cost nothing."""
        self._pending += steps
        self._images += images
        if time.monotonic() - self._updated > _REFRESH_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, advance=self._pending, images=self._images)
        self._pending, self._updated = 0, time.monotonic()

    def stage_started(self, stage: Stage) -> None:
        """Show a bar for the stage."""
        self._start(stage.name, max(stage.epochs, 1) * max(len(stage.batches), 1))

    def batch_done(self, stage: Stage, images: int) -> None:
        """Count the batch."""
        self._advance(1, images)

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Show the epoch's means."""
        if self._task is not None:
            text = f"epoch {stage.epoch + 1}/{stage.epochs}  {format_metrics(metrics)}"
            self._progress.update(self._task, metrics=text)

    def stage_done(self, stage: Stage) -> None:
        """Fill the bar."""
        self._flush()
        if self._task is not None:
            self._progress.update(self._task, completed=self._total)

    def measuring(self, what: str, images: int) -> None:
        """Show a bar for the measurement."""
        self._start(what, images)

    def measured(self, images: int) -> None:
        """Count the images."""
        self._advance(images, images)
        self._flush()

    def said(self, text: str) -> None:
        """Print above the bars."""
        self._progress.console.print(text)

    def closed(self) -> None:
        """Leave the final state on the screen."""
        self._flush()
        self._progress.stop()


class LineDisplay(Monitor):
    """Plain lines: the start and end of every stage and measurement, and the epochs in between now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._started = self._last = 0.0
        self._images = 0

    def _print(self, text: str) -> None:
        # Whoever was reading may be gone, which is no reason to stop the run.
        with contextlib.suppress(OSError):
            print(text, file=self._stream, flush=True)

    def stage_started(self, stage: Stage) -> None:
        """Say what starts."""
        self._started = self._last = time.monotonic()
        self._images = 0
        self._print(f"{stage.name}: {stage.epochs} epochs of {len(stage.batches)} batches")

    def batch_done(self, stage: Stage, images: int) -> None:
        """Count the images."""
        self._images += images

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        """Say how it goes, at the end and every few seconds."""
        now, done = time.monotonic(), stage.epoch + 1
        if done < stage.epochs and now - self._last < _LINE_SECONDS:
            return
        self._last = now
        passed = max(now - self._started, 1e-9)
        left = passed / done * (stage.epochs - done)
        self._print(
            f"{stage.name}: epoch {done}/{stage.epochs}  {format_metrics(metrics)}  "
            f"{self._images / passed:,.0f} images/s  {left:.0f} s left"
        )

    def measuring(self, what: str, images: int) -> None:
        """Say what is measured."""
        self._print(f"measuring {what} on {images} images")

    def said(self, text: str) -> None:
        """Print."""
        self._print(text)


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Write metrics for reading."""
    return "  ".join(f"{name} {format_metric(name, value)}" for name, value in metrics.items())


def format_metric(name: str, value: float) -> str:
    """Write the value of a metric for reading: accuracy in percent, the rest with four digits."""
    return f"{value:.1%}" if "accuracy" in name else f"{value:.4g}"

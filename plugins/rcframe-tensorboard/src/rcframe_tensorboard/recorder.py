"""One run as TensorBoard's event files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from rcframe import Recorder, Report, figures_of


class EventFile(Recorder):
    """Writes scalars as the run goes, and settings with figures at its end."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._settings = dict(settings)
        self._written = set(_points(folder))
        self._writer = SummaryWriter(str(folder))

    def epoch_done(self, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Add a point to the curve of each metric."""
        for name, value in metrics.items():
            if (f"{stage}/{name}", epoch) not in self._written:
                self._writer.add_scalar(f"{stage}/{name}", value, epoch)
        # A run that is killed leaves its curves complete up to its last epoch.
        self._writer.flush()

    def finished(self, report: Report) -> None:
        """Add the figures, as scalars and for the comparison of runs by their settings."""
        figures = {f"final/{name}": value for name, value in figures_of(report).items()}
        self._writer.add_hparams(self._settings, figures, run_name=".")
        self._writer.close()

    def stopped(self, reason: str) -> None:
        """Add the reason as text."""
        self._writer.add_text("stopped", reason)
        self._writer.close()


def _points(folder: Path) -> Iterator[tuple[str, int]]:
    """Yield tag and step of every point that an earlier part of the run has written."""
    if folder.is_dir():
        earlier = EventAccumulator(str(folder), size_guidance={"scalars": 0})
        earlier.Reload()
        for tag in earlier.Tags()["scalars"]:
            yield from ((tag, point.step) for point in earlier.Scalars(tag))

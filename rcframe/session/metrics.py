"""The training curves of a run, as they stand in `metrics.jsonl`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs


@attrs.frozen
class Line:
    """A line of `metrics.jsonl`: an epoch, counted from 1, the seconds since the stage began, and its metrics."""

    stage: str
    epoch: int
    seconds: float | None
    metrics: Mapping[str, float]


def read_metrics(path: Path) -> Iterator[Line]:
    """Yield the lines of a `metrics.jsonl`, also while it is being written; what is not whole yet is left out."""
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for text in file:
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                yield _line(text)


def _line(text: str) -> Line:
    found = json.loads(text)
    stage, epoch, seconds = str(found.pop("stage")), int(found.pop("epoch")), found.pop("seconds")
    metrics = {name: float(value) for name, value in found.items()}
    return Line(stage, epoch, None if seconds is None else float(seconds), metrics)

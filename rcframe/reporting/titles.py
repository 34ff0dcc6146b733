"""What a report is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rcframe.findings.folders import Collection

_MOST = 3


def title_of(collection: Collection, folders: Sequence[Path]) -> str:
    """Return the title of what these folders hold, if they hold one matrix or reproduction alone; else name them."""
    if len(collection.matrices) == 1 and all(run.row for run in collection.runs):
        titles = [found.title for found in collection.reproductions] + [found.title for found in collection.matrices]
        if title := next((title.strip() for title in titles if title.strip()), ""):
            return title
    names = [folder.resolve().name or str(folder) for folder in folders]
    return f"Report on {', '.join(names[:_MOST])}{' and more' if len(names) > _MOST else ''}"

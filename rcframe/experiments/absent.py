"""Files of data sets that are not there, said once and before any of many runs starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rcframe.data.files import CHOOSE_FOLDER
from rcframe.data.prepare import default_root
from rcframe.data.vision import PublishedSource
from rcframe.errors import RequestError
from rcframe.experiments.plan import PlannedRun


def refuse_without_data(runs: Sequence[PlannedRun]) -> None:
    """Refuse runs of which some read a data set whose files are absent; each reason is named once."""
    # Many runs read few data sets.
    asked = {(run.parts.data, _root(run)): run for run in runs}
    found = {key: run.parts.data.lacking(key[1]) for key, run in asked.items()}
    reasons = {key: reason for key, reason in found.items() if reason}
    if reasons:
        count = sum((run.parts.data, _root(run)) in reasons for run in runs)
        published = any(isinstance(source, PublishedSource) for source, _ in reasons)
        lines = [
            f"Nothing was started: {count} of {len(runs)} runs need data that is not here.",
            *dict.fromkeys(reasons.values()),
            *([f"{CHOOSE_FOLDER}."] if published else []),
        ]
        raise RequestError("\n".join(lines))


def _root(run: PlannedRun) -> Path:
    return Path(run.config.data_root) if run.config.data_root else default_root()

"""What the log of a run tells those who look at it later: what was begun, and what else was said."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import attrs

_RECORD = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ [A-Z]+ rcframe\S* (.*)\n")
_STAGE = re.compile(r"stage (.*): (\d+) epochs of (\d+) batches")
#: What the work log tells as well, and `rcframe cache why` in full.
_TOLD_ELSEWHERE = re.compile(r"stage .*: done|.*: from the cache|.*: not in the cache; .*")
_MEASURING = re.compile(r"measuring (.*) on (\d+) images")


@attrs.frozen
class Remark:
    """A line of the log, and when it was written, by the clock of the machine that ran."""

    when: datetime
    text: str


@attrs.frozen
class BegunStage:
    """A stage that began to train, or went on."""

    epochs: int
    batches: int


@attrs.define
class Log:
    """What a log tells. What began comes in the order in which it first did."""

    stages: dict[str, BegunStage] = attrs.field(factory=dict)
    #: How many images each measurement takes.
    measurements: dict[str, int] = attrs.field(factory=dict)
    #: What was said besides.
    remarks: list[Remark] = attrs.field(factory=list)


def read_log(path: Path) -> Log:
    """Read a `log.txt`, also while it is being written; a missing one is empty."""
    log = Log()
    with contextlib.suppress(FileNotFoundError), path.open(encoding="utf-8", errors="replace") as file:
        for remark in _remarks(file):
            if found := _STAGE.fullmatch(remark.text):
                log.stages[found[1]] = BegunStage(int(found[2]), int(found[3]))
            elif found := _MEASURING.fullmatch(remark.text):
                log.measurements[found[1]] = int(found[2])
            elif not _TOLD_ELSEWHERE.fullmatch(remark.text):
                log.remarks.append(remark)
    return log


def _remarks(lines: Iterable[str]) -> Iterator[Remark]:
    """Yield the first lines of all records: what follows one, such as a traceback, is for readers of the file."""
    for line in lines:
        if found := _RECORD.fullmatch(line):
            with contextlib.suppress(ValueError):
                yield Remark(datetime.fromisoformat(found[1]), found[2])

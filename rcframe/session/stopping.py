"""Stopping a run on request: the batch at hand is finished, its state kept, and only then the run ends."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ClassVar

from rcframe.errors import RcframeError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(RcframeError):
    """The user, or the machine's owner, asked a run to stop; it can go on later."""

    exit_code: ClassVar[int] = 130


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let a first Ctrl-C wait for the end: libraries that meet it while they are imported may take it for an error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []

    def ask(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


class Stop:
    """Whether a run was asked to stop."""

    requested = False
    _working = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as requests while there is work; else, and the second time, they stop at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._asked) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have work under way that looks at `requested` and would lose something if it were stopped at once."""
        self._working = True
        try:
            yield
        finally:
            self._working = False

    def _asked(self, number: int, frame: FrameType | None) -> None:
        if self.requested or not self._working:
            raise KeyboardInterrupt
        self.requested = True
        # Ctrl-C reaches every process of a pipeline: nobody may be left to read this.
        with contextlib.suppress(OSError):
            print("Stopping after this batch; once more to stop at once.", file=sys.stderr, flush=True)

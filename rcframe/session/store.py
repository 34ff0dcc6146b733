"""Keeping the work of a run: in its folder, so that it can go on, and in the cache, so that others need not do it."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Literal, cast

import attrs

from rcframe.errors import RcframeError, RequestError, RunFailed, listed
from rcframe.session.stopping import Interrupted, Stop
from rcframe.session.worklog import Outcome, WorkLog
from rcframe.storage.cache import Cache
from rcframe.storage.identity import Identity, brief
from rcframe.storage.keeper import Work
from rcframe.storage.state_file import DamagedState, read_about, read_state, write_state
from rcframe.training.compute import Compute

#: Writing state may take this part of the time at most.
_MOST_COST = 0.01
#: Where several processes train together, they agree on what to do after so many batches.
_BATCHES_BETWEEN_TALKS = 16
_LOG = logging.getLogger("rcframe")
_FINISHED, _SECONDS = "finished", "seconds"


class Changed(RequestError):
    """What determines the work of a run is not what it was when the run was stopped."""


@attrs.frozen
class Found:
    """State that was kept earlier."""

    state: object
    finished: bool
    origin: Literal["cache", "folder"]


@attrs.define(eq=False, kw_only=True)
class Store:
    """Where the work of one run is kept. Only the main process reads and writes."""

    #: The run's folder for unfinished and finished work, or None.
    progress: Path | None
    cache: Cache | None
    log: WorkLog
    compute: Compute
    #: Seconds of work after which its state is written.
    every: float
    say: Callable[[str], None]
    stop: Stop
    #: Go on with work that other code or settings began; nothing is shared with other runs then.
    despite_changes: bool = False
    _started: float = attrs.field(factory=time.monotonic, init=False)
    _before: float = attrs.field(default=0.0, init=False)
    _written: float = attrs.field(factory=time.monotonic, init=False)
    _cost: float = attrs.field(default=0.0, init=False)
    _batches: int = attrs.field(default=0, init=False)
    _cache_complained: bool = attrs.field(default=False, init=False)
    _identity: Identity | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        if self.progress is not None and self.compute.is_main:
            self._before = _latest_seconds(self.progress)

    @property
    def seconds(self) -> float:
        """How long the run has worked, with the time before it was stopped."""
        return self._before + time.monotonic() - self._started

    @property
    def _shared(self) -> Cache | None:
        """The cache, unless changes were accepted, now or at an earlier stop: no identity tells such work apart."""
        return None if self.despite_changes or self.log.mixed else self.cache

    @contextmanager
    def keep(self, work: Work, identity: Identity, shareable: bool) -> Iterator[bool]:
        """Put work where it was left and say whether it is finished; at the end, keep the result."""
        begun = time.monotonic()
        with ExitStack() as held:
            found = self.compute.from_main(lambda: self._find(work.name, identity, shareable, held))
            if found is not None:
                work.load_state_dict(cast("Mapping[str, object]", found.state))
            self._identity, self._written = identity, time.monotonic()
            if found is not None and found.finished:
                yield True
                self._note(identity, found.origin, begun)
                return
            yield False
            state = work.final_state()
            if self.compute.is_main:
                self._finish(work.name, identity, shareable, state)
                self._note(identity, "computed" if found is None else "continued", begun)

    def progressed(self, work: Work) -> None:
        """Write the state of unfinished work if it is time to; end the run if that was asked for."""
        self._batches += 1
        if self.compute.count > 1 and self._batches % _BATCHES_BETWEEN_TALKS:
            return
        due, stop = self.compute.from_main(lambda: (self._due(), self.stop.requested))
        if due or stop:
            self._checkpoint(work)
        if stop:
            raise Interrupted(f"Stopped in `{work.name}`.")

    def _due(self) -> bool:
        if self.progress is None:
            return False
        wait = max(self.every, self._cost / _MOST_COST) if self.every else 0.0
        return time.monotonic() - self._written >= wait

    def _checkpoint(self, work: Work) -> None:
        begun = time.monotonic()
        work.check()
        state = work.state_dict()
        if self.progress is not None and self._identity is not None and self.compute.is_main:
            self._write(work.name, self._identity, state, finished=False)
        self._written = time.monotonic()
        self._cost = self._written - begun

    # -- finding --------------------------------------------------------------------------------------------------

    def _find(self, name: str, identity: Identity, shareable: bool, held: ExitStack) -> Found | None:
        """Look in the folder, then in the cache; while work is done that could be shared, its lock is held."""
        ours = self._in_folder(name, identity)
        if ours is not None and ours.finished:
            return ours
        cache = self._shared
        if cache is None or not shareable:
            return ours
        self._lock(cache, identity, held)
        theirs = self._in_cache(cache, identity)
        if theirs is None and ours is None:
            self._explain_miss(cache, identity)
        return theirs or ours

    def _lock(self, cache: Cache, identity: Identity, held: ExitStack) -> None:
        def waiting() -> None:
            self.say(f"{identity.name}: another process is at it; waiting for its result")

        def still() -> None:
            if self.stop.requested:
                raise Interrupted(f"Stopped while waiting for `{identity.name}`.")

        # Without a lock, work is done twice at worst; and a cache that takes none may still have what is looked for.
        with contextlib.suppress(RunFailed):
            held.enter_context(cache.locked(identity, waiting, still))

    def _in_folder(self, name: str, identity: Identity) -> Found | None:
        if self.progress is None:
            return None
        path = self.progress / file_name(name)
        if not path.exists():
            return None
        try:
            # Only reading the state shows whether what the file says of itself is what was written.
            state, about = read_state(path), read_about(path)
        except DamagedState as error:
            self.say(f"{error} It is dropped; `{name}` starts anew.")
            path.unlink(missing_ok=True)
            return None
        finished = about.pop(_FINISHED, "no") == "yes"
        about.pop(_SECONDS, None)
        self._compare(name, identity, about)
        if not finished:
            self.say(f"{name}: goes on where it was stopped")
        return Found(state, finished, "folder")

    def _compare(self, name: str, identity: Identity, about: dict[str, str]) -> None:
        """Refuse to mix results of different code or settings, unless the user wants that."""
        changed = identity.differences(about)
        if not changed:
            return
        if self.despite_changes:
            self.log.mixed_by(item.part for item in changed)
            return
        words = listed(
            f"{item.part} (was {brief(item.there) or 'none'}, is {brief(item.here) or 'none'})" for item in changed
        )
        raise Changed(
            f"The run cannot go on as it was: for `{name}`, these have changed: {words}. Undo that, or go on all the "
            f"same with --despite-changes, which the report will say, or start a new run from its `run.toml`."
        )

    def _in_cache(self, cache: Cache, identity: Identity) -> Found | None:
        try:
            state = cache.read(identity)
        except DamagedState as error:
            self.say(f"{error} It is not used; `{identity.name}` is computed anew.")
            return None
        except (RcframeError, OSError) as error:
            self._cache_failed(error)
            return None
        if state is None:
            return None
        self.say(f"{identity.name}: from the cache")
        return Found(state, True, "cache")

    def _explain_miss(self, cache: Cache, identity: Identity) -> None:
        with contextlib.suppress(RcframeError, OSError):
            differences = cache.nearest(identity)
            if differences:
                _LOG.info(
                    "%s: not in the cache; the nearest entry differs in %s",
                    identity.name,
                    listed(item.part for item in differences),
                )

    # -- writing --------------------------------------------------------------------------------------------------

    def _write(self, name: str, identity: Identity, state: object, *, finished: bool) -> None:
        assert self.progress is not None
        about = {**identity.parts, _FINISHED: "yes" if finished else "no", _SECONDS: f"{self.seconds:.3f}"}
        write_state(self.progress / file_name(name), state, about)

    def _finish(self, name: str, identity: Identity, shareable: bool, state: object) -> None:
        if self.progress is not None:
            self._write(name, identity, state, finished=True)
        cache = self._shared
        if cache is None or not shareable:
            return
        try:
            cache.write(identity, state)
        except (RcframeError, OSError) as error:
            self._cache_failed(error)

    def _note(self, identity: Identity, outcome: Outcome, begun: float) -> None:
        if self.compute.is_main:
            self.log.note(identity, outcome, time.monotonic() - begun)

    def _cache_failed(self, error: Exception) -> None:
        """A cache that fails costs time, not the run; saying so once is enough."""
        if not self._cache_complained:
            self.say(f"The cache could not be used: {error} The run goes on without it.")
        self._cache_complained = True


def file_name(name: str) -> str:
    """Return the name of a file for work of any name; it never leads to another folder."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:60]
    return f"{plain}-{sha256(name.encode()).hexdigest()[:8]}.safetensors"


def _latest_seconds(progress: Path) -> float:
    """Return how long the run had worked when it last wrote anything."""
    latest = 0.0
    for path in progress.glob("*.safetensors"):
        with contextlib.suppress(RcframeError, ValueError, KeyError):
            latest = max(latest, float(read_about(path)[_SECONDS]))
    return latest

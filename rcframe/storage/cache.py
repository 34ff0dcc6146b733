"""The cache that runs share: finished work, addressed by everything that determines it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import attrs
import platformdirs

from rcframe.errors import RunFailed
from rcframe.storage.identity import Difference, Identity
from rcframe.storage.locks import locked
from rcframe.storage.state_file import DamagedState, read_about, read_state, write_state

_SUFFIX = ".safetensors"
#: Temporary files older than this belong to nobody any more.
_ABANDONED_SECONDS = 3600.0


@attrs.frozen
class Entry:
    """A finished piece of work in the cache."""

    path: Path
    identity: Identity
    bytes: int
    #: When it was last read or written, in seconds since 1970.
    used: float


@attrs.frozen
class Cache:
    """A folder of finished work."""

    root: Path

    def locked(
        self, identity: Identity, waiting: Callable[[], None], still: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Hold the right to do this work.

        If another process is at it, `waiting` is called once, and `still` at every look; raising there ends the
        waiting.
        """
        return locked(self.root / "locks" / f"{identity.key}.lock", waiting, still)

    def read(self, identity: Identity) -> object | None:
        """Return the state of finished work, or None; a damaged entry is dropped and raises `DamagedState`."""
        path = self._path(identity)
        if not path.exists():
            return None
        try:
            if Identity(read_about(path)).key != identity.key:
                raise DamagedState(f"`{path}` is damaged: it holds other work than its name says.")
            state = read_state(path)
        except DamagedState:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            raise
        except RunFailed:
            if path.exists():
                raise
            # Another process has just removed it.
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return state

    def write(self, identity: Identity, state: object) -> None:
        """Keep finished work."""
        path = self._prepared(identity)
        write_state(path, state, identity.parts)

    def entries(self) -> list[Entry]:
        """List what is in the cache, the most recently used first; damaged entries are left out.

        What a newer rcframe wrote has no name.
        """
        return sorted(self._entries(), key=lambda entry: entry.used, reverse=True)

    def _entries(self) -> Iterator[Entry]:
        for path in (self.root / "work").glob(f"*/*{_SUFFIX}"):
            # Other processes may remove entries while this one looks at them.
            with contextlib.suppress(DamagedState, FileNotFoundError):
                identity, facts = _identity(path), path.stat()
                yield Entry(path, identity, facts.st_size, facts.st_mtime)

    def nearest(self, identity: Identity) -> tuple[Difference, ...] | None:
        """Return in what the most similar other entry of the same name differs, or None if there is none."""
        return nearest_among(self.entries(), identity)

    def prune(self, most_bytes: int | None, most_days: float | None) -> list[Entry]:
        """Remove what was not used for `most_days`, then the least recently used beyond `most_bytes`; return it."""
        self._sweep()
        removed, kept_bytes = [], 0
        for entry in self.entries():
            old = most_days is not None and time.time() - entry.used > most_days * 86400
            if old or (most_bytes is not None and kept_bytes + entry.bytes > most_bytes):
                entry.path.unlink(missing_ok=True)
                removed.append(entry)
            else:
                kept_bytes += entry.bytes
        return removed

    def _sweep(self) -> None:
        """Remove what killed processes left half-written, and entries that cannot be read."""
        for path in (self.root / "work").glob("*/.*"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()
        for path in (self.root / "work").glob(f"*/*{_SUFFIX}"):
            try:
                _identity(path)
            except DamagedState:
                path.unlink(missing_ok=True)

    def _path(self, identity: Identity) -> Path:
        key = identity.key
        return self.root / "work" / key[:2] / f"{key}{_SUFFIX}"

    def _prepared(self, identity: Identity) -> Path:
        path = self._path(identity)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def nearest_among(entries: Iterable[Entry], identity: Identity) -> tuple[Difference, ...] | None:
    """Return in what the most similar of the entries with the same name and another key differs, or None."""
    others = (entry.identity for entry in entries if entry.identity.name == identity.name)
    differences = (identity.differences(other.parts) for other in others if other.key != identity.key)
    return min(differences, key=len, default=None)


def _identity(path: Path) -> Identity:
    """Return what an entry says it is; what this rcframe cannot read is nothing it knows."""
    try:
        return Identity(read_about(path))
    except DamagedState:
        raise
    except RunFailed:
        return Identity({})


def default_cache() -> Cache:
    """Return the cache in `RCFRAME_CACHE` if set, else in the platform's cache folder."""
    chosen = os.environ.get("RCFRAME_CACHE")
    return Cache(Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("rcframe"))

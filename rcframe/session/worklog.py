"""What became of each piece of work of a run: computed, continued, or found; the file `work.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, cast, get_args

import attrs

from rcframe.errors import RequestError
from rcframe.files import write_text
from rcframe.storage.identity import Identity

#: Computed here, continued from a checkpoint, found in the cache, or finished before the run was stopped.
Outcome = Literal["computed", "continued", "cache", "folder"]
_FORMAT = 1


@attrs.frozen
class Entry:
    """A finished piece of work."""

    identity: Identity
    outcome: Outcome
    seconds: float


@attrs.define(eq=False)
class WorkLog:
    """The finished work of a run, in its order; also in a file if the run has a folder."""

    path: Path | None = None
    entries: list[Entry] = attrs.field(factory=list)
    #: What was not the same before and after a stop.
    mixed: list[str] = attrs.field(factory=list)

    def mixed_by(self, parts: Iterable[str]) -> None:
        """Add what changed while the run was stopped."""
        self.mixed = list(dict.fromkeys([*self.mixed, *parts]))
        self._save()

    def note(self, identity: Identity, outcome: Outcome, seconds: float) -> None:
        """Add finished work; work that was finished before the run was stopped keeps its first entry."""
        if outcome == "folder" and any(entry.identity == identity for entry in self.entries):
            return
        self.entries = [entry for entry in self.entries if entry.identity.name != identity.name]
        self.entries.append(Entry(identity, outcome, seconds))
        self._save()

    def _save(self) -> None:
        if self.path is not None:
            write_text(self.path, self._to_json())

    def _to_json(self) -> str:
        work = [
            {"outcome": entry.outcome, "seconds": round(entry.seconds, 3), "key": entry.identity.key, **_parts(entry)}
            for entry in self.entries
        ]
        return json.dumps({"format": _FORMAT, "mixed_by": self.mixed, "work": work}, indent=2) + "\n"


def _parts(entry: Entry) -> dict[str, object]:
    return {"determined_by": dict(entry.identity.parts)}


def read_worklog(path: Path) -> WorkLog:
    """Read a `work.json`; a missing one is empty."""
    if not path.exists():
        return WorkLog(path)
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        if written["format"] > _FORMAT:
            raise RequestError(f"`{path}` was written by a newer rcframe: upgrade to read it.")
        return WorkLog(path, [_read_entry(item) for item in written["work"]], written["mixed_by"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"`{path}` is damaged: {error!r}. Remove it; it is written anew.") from error


def _read_entry(item: dict[str, object]) -> Entry:
    parts, outcome = cast("dict[str, str]", item["determined_by"]), item["outcome"]
    if outcome not in get_args(Outcome):
        raise ValueError(f"no outcome {outcome!r}")
    identity = Identity({str(name): str(value) for name, value in parts.items()})
    return Entry(identity, cast(Outcome, outcome), float(str(item["seconds"])))

"""The settings of a run as flat names with text, as they stand in its `run.toml`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from rcframe.session.config import INFORMATION, read_config

#: Settings that decide where and how fast a run works, not what it is.
MACHINE = ("device", "threads", "workers", "checkpoint", "data_root", "seeds")


def read_settings(path: Path) -> dict[str, str]:
    """Return every setting of a `run.toml` by name: `teacher`, `teacher.epochs`, `attack 2.steps`, `eps`."""
    return flat(read_config(path))


def flat(document: Mapping[str, object]) -> dict[str, str]:
    """Return the settings of a `run.toml` that was read."""
    return {name: text for key, value in document.items() if key not in INFORMATION for name, text in _flat(key, value)}


def _flat(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        yield name, str(value.get("name", "none"))
        yield from ((f"{name}.{option}", _text(setting)) for option, setting in value.items() if option != "name")
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for number, part in enumerate(value, 1):
            yield from _flat(name if len(value) == 1 else f"{name} {number}", part)
    else:
        yield name, _text(value)


def _text(value: object) -> str:
    if isinstance(value, list):
        return "+".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)

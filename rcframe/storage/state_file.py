"""State files: a tree of tensors and plain values in one safetensors file that proves its own integrity."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from rcframe.errors import RunFailed
from rcframe.storage.digest import add_tensor
from rcframe.storage.tensors import write_tensors
from rcframe.storage.tree import flatten, unflatten

_FORMAT = 1
_METADATA = "rcframe_state"
#: A file is opened twice, and the second opener, torch, has no error of its own for one that has gone in between.
_UNREADABLE = (OSError, RuntimeError)


class DamagedState(RunFailed):
    """A state file is not what was written."""


def write_state(path: Path, state: object, about: Mapping[str, str]) -> None:
    """Write a tree; `about` says what it is and can be read without the tree."""
    plain, tensors = flatten(state)
    head = {"format": _FORMAT, "about": dict(about), "tree": plain}
    head["digest"] = _digest(head, tensors)
    named = {str(index): tensor for index, tensor in enumerate(tensors)}
    write_tensors(path, named, {_METADATA: json.dumps(head)})


def digest_state(state: object) -> str:
    """Return the sha256 of a tree: of its structure, its plain values and every bit of its tensors."""
    plain, tensors = flatten(state)
    return _digest({"tree": plain}, tensors)


def read_about(path: Path) -> dict[str, str]:
    """Return what a state file says about itself, without checking its content."""
    head = _head(path)
    about = head.get("about")
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        raise DamagedState(f"`{path}` is damaged: it does not say what it is.")
    return about


def read_state(path: Path) -> object:
    """Return the tree of a state file, refusing it if any bit differs from what was written."""
    head = _head(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = [file.get_tensor(str(index)) for index in range(len(file.keys()))]
    except SafetensorError as error:
        raise DamagedState(f"`{path}` is damaged: {error}.") from error
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if head.pop("digest", None) != _digest(head, tensors):
        raise DamagedState(f"`{path}` is damaged: its checksum does not match its content.")
    return unflatten(head["tree"], tensors)


def _head(path: Path) -> dict[str, object]:
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads((file.metadata() or {})[_METADATA])
        version = head["format"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DamagedState(f"`{path}` is damaged or no state of a run: {error}.") from error
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if not isinstance(version, int) or version > _FORMAT:
        raise RunFailed(f"`{path}` was written by a newer rcframe (format {version}): upgrade to read it.")
    return dict(head)


def _unreadable(path: Path, error: OSError | RuntimeError) -> RunFailed:
    """Return what to say if the system would not read a file, which says nothing about what is in it."""
    reason = error.strerror if isinstance(error, OSError) else None
    return RunFailed(f"Cannot read `{path}`: {reason or error}.")


def _digest(head: Mapping[str, object], tensors: list[Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
    for tensor in tensors:
        add_tensor(digest, tensor)
    return digest.hexdigest()

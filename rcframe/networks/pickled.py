"""Looking into pickles without running them."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from pickle import Unpickler
from typing import IO

#: The number at the start of torch's older files, pickled.
_TORCH_NUMBER = bytes.fromhex("6cfc9c46f9206aa85019")
_HEAD = 64
#: The older files begin with the number, a version and facts about the machine, each pickled by itself.
_OLD_FILE_PICKLES = 4
_ARCHIVE_START = b"PK\x03\x04"
#: The parts of which pickled tensors are made.
_OF_TENSORS = re.compile(r"collections\.OrderedDict|torch\.(_utils\._rebuild_\w+|\w+Storage|Size)")


def is_plain_pickle(path: Path) -> bool:
    """Say whether a file was written by pickle itself and not by torch."""
    head = _head(path)
    return not (head.startswith(_ARCHIVE_START) or _TORCH_NUMBER in head)


def wanted_by(path: Path) -> str | None:
    """Name the first thing besides the parts of tensors that a pickle would import to be read, or None."""
    head = _head(path)
    try:
        if head.startswith(_ARCHIVE_START):
            _Look(_pickle_in_archive(path)).load()
        else:
            with path.open("rb") as file:
                for _ in range(_OLD_FILE_PICKLES if _TORCH_NUMBER in head else 1):
                    _Look(file).load()
    except _FoundError as found:
        return str(found)
    return None


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def _pickle_in_archive(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        name = next((name for name in archive.namelist() if name.endswith("data.pkl")), None)
        if name is None:
            raise ValueError("the archive holds no pickle")
        return io.BytesIO(archive.read(name))


class _FoundError(Exception):
    """The name of something a pickle would import."""


class _Look(Unpickler):
    """Follows a pickle with empty stand-ins for everything it would import, up to what is no part of a tensor."""

    def find_class(self, module: str, name: str) -> object:
        if not _OF_TENSORS.fullmatch(f"{module}.{name}"):
            raise _FoundError(f"{module}.{name}")
        return _StandIn

    def persistent_load(self, pid: object) -> object:
        return None


class _StandIn:
    """Takes whatever a pickle does to an object."""

    def __new__(cls, *given: object, **named: object) -> _StandIn:
        return super().__new__(cls)

    def __init__(self, *given: object, **named: object) -> None:
        """Keep nothing."""

    def __setstate__(self, state: object) -> None:
        """Keep nothing."""

    def __setitem__(self, key: object, value: object) -> None:
        """Keep nothing."""

    def append(self, item: object) -> None:
        """Keep nothing."""

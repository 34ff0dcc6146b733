"""Where in the code an unexpected error arose, as far as that helps the person who can mend it."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterable
from types import FrameType

import attrs

_STANDARD = sysconfig.get_paths()["stdlib"]
_INSTALLED = ("site-packages", "dist-packages")


@attrs.frozen
class Origin:
    """A line of a source file."""

    file: str
    line: int


def origin(error: BaseException, plugins: Iterable[str]) -> Origin:
    """Return the innermost line of a plugin, or of a user's own file, that an error passed through.

    Often the error itself arises in a library that was called the wrong way. Where no such code is involved, it is the
    innermost line of ours. `plugins` are the names of packages.
    """
    ours, theirs = None, None
    known = frozenset(plugins)
    for frame, line in traceback.walk_tb(error.__traceback__):
        here = Origin(frame.f_code.co_filename, line)
        package = _package(frame)
        if package == "rcframe":
            ours = here
        elif package in known or not _is_library(here.file):
            theirs = here
    return theirs or ours or Origin("an unknown place", 0)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def _is_library(file: str) -> bool:
    """Say whether a file belongs to Python or an installed package; what has no file counts too."""
    return file.startswith(("<", _STANDARD)) or any(f"/{folder}/" in file.replace("\\", "/") for folder in _INSTALLED)

"""Writing files so that a half-written one is never read as whole."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rcframe.errors import RunFailed

#: What file systems answer, some of them on a network, that have no flushing of folders.
_NO_FLUSHING = (errno.EINVAL, errno.ENOTSUP)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; on success flush it to disk and rename it to `path`."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise RunFailed(f"Cannot write `{path}`: {error.strerror}.") from error
    temporary = Path(name)
    try:
        yield temporary
        # Windows flushes only what is open for writing.
        with temporary.open("r+b") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        _flush_folder(path.parent)
    except OSError as error:
        raise RunFailed(f"Cannot write `{path}`: {error.strerror}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Let the new name survive a power cut, where the system can flush a folder."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSHING:
            raise
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

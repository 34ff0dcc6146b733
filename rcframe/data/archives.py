"""Unpacking archives of data sets so that nothing lands outside the folder they are unpacked into."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import IO

import attrs

from rcframe.errors import RunFailed


def fetch_archive(url: str, md5: str, root: Path) -> None:
    """Download an archive with torchvision, checksum included, and unpack it below `root`."""
    from torchvision.datasets.utils import download_url

    name = url.rpartition("/")[2]
    download_url(url, str(root), filename=name, md5=md5)
    unpack(root / name, root)


def unpack(archive: Path, root: Path) -> None:
    """Unpack a zip or tar archive into `root`: all of it, or nothing.

    An archive with a member that is a link or would land outside is refused whole, and so is one that would change
    what is there already.
    """
    with _members(archive) as members:
        listed = list(members)
        for member in listed:
            _check(member, archive, root)
        # What was unpacked appears under its name only when it is whole.
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=root) as beside:
            for member in listed:
                _write(member, Path(beside))
            _move_into(root, Path(beside), archive)


@attrs.frozen
class _Member:
    """One thing in an archive."""

    name: str
    #: Opens the content of a file; None for a folder.
    content: Callable[[], IO[bytes] | None] | None
    #: Whether it is neither a folder nor a file with content of its own.
    special: bool = False


@contextmanager
def _members(archive: Path) -> Iterator[Iterable[_Member]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as zipped:
                yield (_zip_member(zipped, info) for info in zipped.infolist())
        else:
            with tarfile.open(archive) as tar:
                yield (_tar_member(tar, info) for info in tar)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError) as error:
        raise RunFailed(f"`{archive}` is damaged and was not unpacked: {error}. Remove it and try again.") from error


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    if info.is_dir():
        return _Member(info.filename, None)
    kind = stat.S_IFMT(info.external_attr >> 16)
    return _Member(info.filename, lambda: archive.open(info), special=kind not in (0, stat.S_IFREG))


def _tar_member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> _Member:
    if info.isdir():
        return _Member(info.name, None)
    return _Member(info.name, lambda: archive.extractfile(info), special=not info.isreg())


def _check(member: _Member, archive: Path, root: Path) -> None:
    # Paths of Windows know both separators, drives and `..`, so that a name is refused on every system alike.
    path = PureWindowsPath(member.name)
    if path.anchor or ".." in path.parts:
        reason = f"would be written outside `{root}`"
    elif member.special:
        reason = "is a link or a device, of which a data set has none"
    else:
        return
    raise RunFailed(
        f"`{archive}` was refused and nothing was unpacked: its member `{member.name}` {reason}. Remove the archive, "
        f"and take it from a source you trust."
    )


def _write(member: _Member, folder: Path) -> None:
    target = folder / member.name
    if member.content is None:
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    opened = member.content()
    if opened is None:
        raise tarfile.ReadError(f"member `{member.name}` has no content")
    with opened as content, target.open("wb") as file:
        shutil.copyfileobj(content, file)


def _move_into(root: Path, unpacked: Path, archive: Path) -> None:
    found = sorted(unpacked.iterdir())
    for entry in found:
        place = root / entry.name
        # A link counts as there, wherever it leads.
        if place.exists() or place.is_symlink():
            raise RunFailed(
                f"`{archive}` was not unpacked: `{place}` is there already, but not complete. Remove or rename it and "
                f"try again."
            )
    for entry in found:
        entry.rename(root / entry.name)

"""Which code a result depends on: a digest of the sources of the packages involved."""

from __future__ import annotations

import functools
import hashlib
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

#: Large libraries count by their version: a released one does not change under it.
_LIBRARIES = ("torch", "torchvision", "timm", "numpy", "builtins")
#: Parts of our own package that decide what is asked and shown, but no number.
_AROUND = ("cli", "experiments", "findings", "reporting", "scaffold", "session", "testing")


def code_of(modules: Iterable[str]) -> dict[str, str] | None:
    """Return a digest for each top-level package of `modules`; None if the source of one cannot be found.

    Editing a method, even without changing its version, changes the digest.
    """
    digests = {}
    for name in sorted({module.partition(".")[0] for module in modules}):
        digest = _library(name) if name in _LIBRARIES else _sources(name)
        if digest is None:
            return None
        digests[name] = digest
    return digests


@functools.cache
def _library(name: str) -> str:
    try:
        major, minor, *_ = [*version(name).split("."), ""]
    except PackageNotFoundError:
        return "python"
    return f"{major}.{minor}"


@functools.cache
def _sources(name: str) -> str | None:
    """Digest the sources of one top-level module, or of everything in its package."""
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None or not file.endswith(".py"):
        return None
    path = Path(file)
    sources = sorted(path.parent.rglob("*.py")) if path.name == "__init__.py" else [path]
    if not any(source.is_file() for source in sources):
        # It was read from an archive, say.
        return None
    around = [path.parent / folder for folder in _AROUND] if name == "rcframe" else []
    digest = hashlib.sha256()
    for source in sources:
        if any(source.is_relative_to(folder) for folder in around):
            continue
        try:
            digest.update(f"{source.relative_to(path.parent)}\0".encode() + source.read_bytes())
        except OSError:
            return None
    return digest.hexdigest()[:16]

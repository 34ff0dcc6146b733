"""Reading pickled arrays of others without running anything they ask for."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rcframe.data.files import damaged
from rcframe.errors import RequestError


def read_arrays(path: Path) -> object:
    """Return what the pickle at `path` holds if it is made of numpy arrays and plain containers only."""
    try:
        with path.open("rb") as file:
            # Files written by Python 2 hold byte strings; latin1 is the encoding numpy needs for its arrays.
            return _ArraysOnly(file, encoding="latin1").load()
    except _UnwantedError as error:
        raise RequestError(
            f"`{path}` was refused: it is a pickle that wants `{error}`, but only numpy arrays and plain containers "
            f"are admitted, since anything else could run code. Take the file from a source you trust."
        ) from None
    # A damaged pickle fails in whatever its broken instructions trip over, so every failure means the same.
    except Exception as error:
        raise damaged(path, f"it cannot be unpickled ({type(error).__name__}: {error})") from error


class _UnwantedError(Exception):
    """The name of something a pickle asked for and must not have."""


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows the few names of which pickled arrays are made."""

    def find_class(self, module: str, name: str) -> object:
        # numpy 2 moved its internals; old files carry the old module name.
        current = module.replace("numpy.core", "numpy._core", 1)
        if (current, name) not in _ADMITTED:
            raise _UnwantedError(f"{module}.{name}")
        return _ADMITTED[current, name]

    def persistent_load(self, pid: object) -> object:
        raise _UnwantedError(f"persistent object {pid}")


def _latin1(text: str, encoding: str) -> bytes:
    """Stand in for `codecs.encode`, which Python 3 uses to write byte strings in old protocols."""
    if encoding != "latin1":
        raise _UnwantedError(f"_codecs.encode with {encoding}")
    return text.encode("latin1")


def _numpy_rebuilders() -> dict[tuple[str, str], Callable[..., object]]:
    """Return the functions with which numpy rebuilds an array, asked of numpy itself."""
    array = np.zeros(1, np.uint8)
    old, new = array.__reduce__()[0], array.__reduce_ex__(5)[0]
    assert callable(old)
    assert callable(new)
    return {("numpy._core.multiarray", "_reconstruct"): old, ("numpy._core.numeric", "_frombuffer"): new}


_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    **_numpy_rebuilders(),
}

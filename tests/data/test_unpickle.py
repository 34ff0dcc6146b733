from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from rcframe.data.unpickle import read_arrays
from rcframe.errors import RequestError


def stored(tmp_path: Path, content: object, protocol: int) -> Path:
    path = tmp_path / "stored"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_and_plain_containers_are_read_in_every_protocol(tmp_path: Path, protocol: int) -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = {"data": array, "labels": [1, 2], "names": ("a", b"b\xff"), "more": {"none": None, "half": 0.5}}
    found = read_arrays(stored(tmp_path, content, protocol))
    assert isinstance(found, dict)
    assert np.array_equal(found.pop("data"), array)
    del content["data"]
    assert found == content


def test_a_file_with_the_old_module_names_of_numpy_is_read(tmp_path: Path) -> None:
    path = stored(tmp_path, np.arange(3, dtype=np.uint8), protocol=2)
    path.write_bytes(path.read_bytes().replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in path.read_bytes()
    assert np.array_equal(read_arrays(path), [0, 1, 2])  # type: ignore[arg-type]  # an array, asserted right here


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old"
    # The dictionary {'data': uint8 array [[250, 1, 2], [3, 4, 255]]}, in the instructions of Python 2: its strings are
    # bytes (U), its array state has the shape, the type and the raw bytes.
    path.write_bytes(
        b"\x80\x02}U\x04data"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86"
        b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x06\xfa\x01\x02\x03\x04\xfftbs."
    )
    found = read_arrays(path)
    assert isinstance(found, dict)
    assert found["data"].tolist() == [[250, 1, 2], [3, 4, 255]]


class Malicious:
    """Runs a command as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_that_would_run_a_command_is_refused_unrun(tmp_path: Path, protocol: int, nested: bool) -> None:
    marker = tmp_path / "marker"
    bomb = Malicious(marker)
    path = stored(tmp_path, {"data": [bomb]} if nested else bomb, protocol)
    with pytest.raises(RequestError, match=rf"`{path}` was refused: .* wants `{os.name}.system`"):
        read_arrays(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists(), "the file must be one that does harm when read carelessly"


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cnumpy\nload\n(S'x'\ntR.", "numpy.load"),
        (b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93.", "numpy.ndarray.__class__"),
        (b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.", "_codecs.encode with zlib"),
        (b"Psecret\n.", "persistent object secret"),
    ],
)
def test_whatever_else_a_pickle_wants_is_named_and_refused(tmp_path: Path, code: bytes, wanted: str) -> None:
    path = tmp_path / "wanting"
    path.write_bytes(code)
    with pytest.raises(RequestError, match=rf"wants `{wanted}`"):
        read_arrays(path)


@pytest.mark.parametrize("cut", [0, 1, 10, 40])
def test_a_truncated_pickle_is_damaged(tmp_path: Path, cut: int) -> None:
    path = stored(tmp_path, {"data": np.zeros(100, np.uint8)}, protocol=4)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(RequestError, match=rf"`{path}` is damaged: it cannot be unpickled"):
        read_arrays(path)

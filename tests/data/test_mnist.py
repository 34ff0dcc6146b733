from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, strategies as st

from rcframe.data.idx import read_idx
from rcframe.data.images import TensorImages
from rcframe.data.mnist import FashionMnist, IdxSource, Mnist
from rcframe.errors import RequestError

NAMES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")} | {
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
}


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def pictures(count: int, first: int, side: int = 28) -> npt.NDArray[np.uint8]:
    """Images of which every pixel tells its number, row and column."""
    number, row, column = np.meshgrid(range(count), range(side), range(side), indexing="ij")
    pixels: npt.NDArray[np.uint8] = (first + 50 * number + 3 * row + column).astype(np.uint8)
    return pixels


def write(root: Path, folder: str = "MNIST/raw", packed: bool = False) -> Path:
    raw = root / folder
    raw.mkdir(parents=True)
    for (images, labels), (count, first) in zip(NAMES.values(), ((4, 0), (3, 7)), strict=True):
        for name, content in ((images, idx(pictures(count, first))), (labels, idx(np.arange(count, dtype=np.uint8)))):
            if packed:
                (raw / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (raw / name).write_bytes(content)
    return raw


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("source", "folder", "first_class", "eps"),
    [(Mnist(), "MNIST/raw", "0", "0.3"), (FashionMnist(), "FashionMNIST/raw", "t-shirt", "0.1")],
)
def test_images_and_labels_are_read(
    tmp_path: Path, source: IdxSource, folder: str, first_class: str, eps: str, packed: bool
) -> None:
    write(tmp_path, folder, packed)
    dataset = source.load(tmp_path)
    info = dataset.info
    assert (info.name, info.shape, len(info.classes), info.classes[0]) == (source.name, (1, 28, 28), 10, first_class)
    assert info.eps.text == eps
    for images, count, first in ((dataset.train, 4, 0), (dataset.test, 3, 7)):
        assert isinstance(images, TensorImages)
        assert torch.equal(images.x, torch.from_numpy(pictures(count, first)).unsqueeze(1))
        assert images.labels is not None
        assert images.labels.tolist() == list(range(count))


def test_plain_and_packed_files_can_lie_side_by_side(tmp_path: Path) -> None:
    raw = write(tmp_path)
    name = NAMES["test"][1]
    (raw / f"{name}.gz").write_bytes(gzip.compress((raw / name).read_bytes()))
    (raw / name).unlink()
    assert len(Mnist().load(tmp_path).test) == 3


def test_statistics_are_the_customary_ones() -> None:
    assert (Mnist().info.mean, Mnist().info.std) == ((0.1307,), (0.3081,))
    assert (FashionMnist().info.mean, FashionMnist().info.std) == ((0.2860,), (0.3530,))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    raw = write(tmp_path)
    (raw / NAMES["test"][0]).unlink()
    with pytest.raises(RequestError, match="`MNIST/raw` lacks `t10k-images-idx3-ubyte`"):
        Mnist().load(tmp_path)


def test_a_truncated_file_is_named_with_both_sizes(tmp_path: Path) -> None:
    path = write(tmp_path) / NAMES["train"][0]
    path.write_bytes(path.read_bytes()[:-100])
    expected = 16 + 4 * 28 * 28
    with pytest.raises(RequestError, match=rf"`{path}` .* announces {expected} bytes, but it holds {expected - 100}"):
        Mnist().load(tmp_path)


def test_a_truncated_packed_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, packed=True) / f"{NAMES['train'][0]}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(RequestError, match=rf"`{path}` is damaged: it cannot be read to its end"):
        Mnist().load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no", b"<html>not found</html>"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_is_something_else_is_named(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"images{suffix}"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=rf"`{path}` is damaged"):
        read_idx(path, dimensions=3)


def test_labels_in_place_of_images_are_refused(tmp_path: Path) -> None:
    raw = write(tmp_path)
    (raw / NAMES["train"][0]).write_bytes((raw / NAMES["train"][1]).read_bytes())
    with pytest.raises(RequestError, match=r"does not begin with the idx header `00000803` .* but with `00000801`"):
        Mnist().load(tmp_path)


def test_images_of_another_size_are_refused(tmp_path: Path) -> None:
    raw = write(tmp_path)
    (raw / NAMES["train"][0]).write_bytes(idx(pictures(4, 0, side=27)))
    with pytest.raises(RequestError, match="its images are 27x27, expected 28x28"):
        Mnist().load(tmp_path)


def test_labels_that_do_not_match_are_refused(tmp_path: Path) -> None:
    labels = write(tmp_path) / NAMES["train"][1]
    labels.write_bytes(idx(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(RequestError, match="5 labels for the 4 images of `train-images-idx3-ubyte`"):
        Mnist().load(tmp_path)
    labels.write_bytes(idx(np.full(4, 10, dtype=np.uint8)))
    with pytest.raises(RequestError, match="labels from 10 to 10, expected 0 to 9"):
        Mnist().load(tmp_path)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.integers(0, 255))
def test_any_array_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], fill: int
) -> None:
    array = (fill + np.arange(int(np.prod(shape)))).astype(np.uint8).reshape(shape)
    path = tmp_path_factory.mktemp("idx") / "array"
    path.write_bytes(idx(array))
    assert np.array_equal(read_idx(path, dimensions=len(shape)).numpy(), array)

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.io import savemat

from rcframe.data.images import TensorImages
from rcframe.data.svhn import CROP_COLUMNS, Svhn
from rcframe.errors import RequestError

#: Number of images of each file, and what their pixels begin with.
FILES = {"train": (12, 0), "test": (3, 60), "extra": (5, 120)}


def pictures(count: int, first: int) -> npt.NDArray[np.uint8]:
    """Images as the files hold them (row, column, channel, number), of which each pixel tells its place."""
    row, column, channel, number = np.meshgrid(range(32), range(32), range(3), range(count), indexing="ij")
    pixels: npt.NDArray[np.uint8] = (first + 3 * row + 5 * column + 50 * channel + 7 * number).astype(np.uint8)
    return pixels


def write(root: Path, folder: str = "svhn", splits: tuple[str, ...] = ("train", "test", "extra")) -> Path:
    (root / folder).mkdir(parents=True, exist_ok=True)
    for split in splits:
        count, first = FILES[split]
        labels = (np.arange(count) % 10 + 1).astype(np.uint8).reshape(-1, 1)
        savemat(root / folder / f"{split}_32x32.mat", {"X": pictures(count, first), "y": labels}, do_compression=True)
    return root / folder


@pytest.mark.parametrize("folder", ["svhn", "SVHN", ""])
def test_images_and_labels_are_read_from_any_of_the_usual_folders(tmp_path: Path, folder: str) -> None:
    write(tmp_path, folder)
    dataset = Svhn(extra=True).load(tmp_path)
    for images, (count, first) in zip((dataset.train, dataset.test, dataset.extra), FILES.values(), strict=True):
        assert isinstance(images, TensorImages)
        assert images.x.shape == (count, 3, 32, 32)
        # Row 4, column 9, channel 2, image 1: the number comes first, then channel, row and column.
        assert int(images.x[1, 2, 4, 9]) == (first + 3 * 4 + 5 * 9 + 50 * 2 + 7 * 1) % 256
        assert np.array_equal(images.x.numpy(), pictures(count, first).transpose(3, 2, 0, 1))


def test_the_label_10_is_the_digit_0(tmp_path: Path) -> None:
    write(tmp_path)
    labels = Svhn().load(tmp_path).train.labels
    assert labels is not None
    assert labels.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2]


def test_the_network_is_told_shape_classes_and_statistics(tmp_path: Path) -> None:
    write(tmp_path)
    info = Svhn().load(tmp_path).info
    assert (info.name, info.shape, info.classes) == ("svhn", (3, 32, 32), tuple("0123456789"))
    assert (info.mean, info.std) == ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970))
    assert info.eps.text == "8/255"


def test_the_extra_split_is_read_only_when_asked(tmp_path: Path) -> None:
    write(tmp_path, splits=("train", "test"))
    assert Svhn().load(tmp_path).extra is None
    with pytest.raises(RequestError, match=r"`svhn` lacks `extra_32x32.mat`"):
        Svhn(extra=True).load(tmp_path)


def test_a_crop_keeps_columns_8_to_24_of_every_split(tmp_path: Path) -> None:
    write(tmp_path)
    whole, cropped = Svhn(extra=True).load(tmp_path), Svhn(extra=True, crop=True).load(tmp_path)
    assert cropped.info.shape == (3, 32, 17)
    assert (CROP_COLUMNS[0], CROP_COLUMNS[-1], len(CROP_COLUMNS)) == (8, 24, 17)
    for before, after in (
        (whole.train, cropped.train),
        (whole.test, cropped.test),
        (whole.extra, cropped.extra),
    ):
        assert isinstance(before, TensorImages)
        assert isinstance(after, TensorImages)
        assert torch.equal(after.x, before.x[:, :, :, 8:25])


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path) / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RequestError, match=rf"`{path}` is damaged: it is not a readable MATLAB file with `X` and `y`"):
        Svhn().load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_a_file_that_is_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path) / "train_32x32.mat"
    path.write_bytes(content)
    with pytest.raises(RequestError, match=rf"`{path}` is damaged"):
        Svhn().load(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"X": pictures(4, 0)}, "not a readable MATLAB file with `X` and `y`"),
        ({"X": pictures(4, 0), "y": np.ones((3, 1), np.uint8)}, "3 labels for 4 images"),
        ({"X": pictures(4, 0)[:31], "y": np.ones((4, 1), np.uint8)}, r"uint8 \(31, 32, 3, 4\), expected uint8"),
        ({"X": pictures(4, 0) / 255, "y": np.ones((4, 1), np.uint8)}, r"float64 \(32, 32, 3, 4\), expected uint8"),
        ({"X": pictures(4, 0), "y": np.full((4, 1), 11, np.uint8)}, "labels from 11 to 11, expected 0 to 9"),
    ],
)
def test_a_file_with_other_arrays_is_refused(tmp_path: Path, content: dict[str, object], reason: str) -> None:
    path = write(tmp_path) / "train_32x32.mat"
    savemat(path, content)
    with pytest.raises(RequestError, match=rf"`{path}` is damaged: .*{reason}"):
        Svhn().load(tmp_path)

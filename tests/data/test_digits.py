from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from sklearn.datasets import load_digits

from rcframe.data.digits import Digits
from rcframe.data.images import Dataset, TensorImages
from rcframe.errors import RequestError


def splits(dataset: Dataset) -> tuple[TensorImages, TensorImages]:
    assert isinstance(dataset.train, TensorImages)
    assert isinstance(dataset.test, TensorImages)
    return dataset.train, dataset.test


def labels_of(images: TensorImages) -> npt.NDArray[np.int64]:
    assert images.labels is not None
    return images.labels.numpy()


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return Digits().load(Path("nowhere"))


def test_the_split_has_the_documented_sizes(digits: Dataset) -> None:
    train, test = splits(digits)
    assert (len(train), len(test)) == (1347, 450)
    assert train.x.shape == (1347, 1, 8, 8)
    assert digits.extra is None
    assert digits.validation is None


def test_train_and_test_together_are_every_digit_of_the_source_once(digits: Dataset) -> None:
    pixels, labels = load_digits(return_X_y=True)
    expected = sorted((label, *row) for label, row in zip(labels.tolist(), (pixels / 16).tolist(), strict=True))
    found = [
        (label, *row)
        for images in splits(digits)
        for label, row in zip(labels_of(images).tolist(), images.x.flatten(1).tolist(), strict=True)
    ]
    assert sorted(found) == expected


def test_the_classes_have_equal_shares_in_both_splits(digits: Dataset) -> None:
    train, test = splits(digits)
    whole = np.bincount(load_digits(return_X_y=True)[1])
    assert np.abs(np.bincount(labels_of(test)) - whole * 450 / 1797).max() < 1
    assert np.abs(np.bincount(labels_of(train)) - whole * 1347 / 1797).max() < 1


def test_the_network_is_told_shape_classes_radius_and_statistics(digits: Dataset) -> None:
    info, (train, _) = digits.info, splits(digits)
    assert (info.name, info.shape, info.classes) == ("digits", (1, 8, 8), tuple("0123456789"))
    assert info.eps.text == "0.1"
    assert info.mean == pytest.approx((float(train.x.double().mean()),))
    assert info.std == pytest.approx((float(train.x.double().std(correction=0)),))


def test_the_split_is_the_same_every_time(digits: Dataset) -> None:
    again = splits(Digits().load(Path("elsewhere")))
    for before, after in zip(splits(digits), again, strict=True):
        assert torch.equal(before.x, after.x)
        assert np.array_equal(labels_of(before), labels_of(after))


def test_larger_digits_are_interpolated_between_pixel_centres(digits: Dataset) -> None:
    small = splits(digits)[0].x[:, 0]
    large_set = Digits(size=16).load(Path())
    large = splits(large_set)[0].x[:, 0]
    assert large_set.info.shape == (1, 16, 16)
    assert torch.allclose(large[:, 0, 0], small[:, 0, 0])
    # Columns 5 and 6 of 16 lie a quarter of a pixel beyond column 2 and before column 3 of 8.
    assert torch.allclose(large[:, 0, 5], 0.75 * small[:, 0, 2] + 0.25 * small[:, 0, 3])
    assert torch.allclose(large[:, 0, 6], 0.25 * small[:, 0, 2] + 0.75 * small[:, 0, 3])
    assert torch.allclose(large[:, 5, 0], 0.75 * small[:, 2, 0] + 0.25 * small[:, 3, 0])


@pytest.mark.parametrize("size", [7, 65])
def test_sizes_outside_the_range_are_refused(size: int) -> None:
    with pytest.raises(RequestError, match=r"`size` .* between 8 and 64"):
        Digits(size=size)

from __future__ import annotations

import attrs
import pytest
import torch

from rcframe.data import fingerprint
from rcframe.data.images import DataInfo, Dataset
from rcframe.options import Number
from rcframe.testing.toys import toy_images

INFO = DataInfo("toy", (1, 8, 8), ("left", "right", "low"), (0.3,), (0.4,), Number("0.1"))
BASE = Dataset(INFO, toy_images(12, 1), toy_images(6, 2), toy_images(5, 3), toy_images(4, 4), ("flip", "crop"))


def described(info: DataInfo) -> Dataset:
    return attrs.evolve(BASE, info=info)


#: The data set with one thing changed, for every field of it and of its description.
CHANGED = {
    "train": attrs.evolve(BASE, train=toy_images(12, 9)),
    "test": attrs.evolve(BASE, test=toy_images(6, 9)),
    "extra": attrs.evolve(BASE, extra=None),
    "validation": attrs.evolve(BASE, validation=None),
    "augment": attrs.evolve(BASE, augment=("crop", "flip")),
    "name": described(attrs.evolve(INFO, name="renamed")),
    "shape": described(attrs.evolve(INFO, shape=(1, 4, 16))),
    "classes": described(attrs.evolve(INFO, classes=("left", "right", "up"))),
    "mean": described(attrs.evolve(INFO, mean=(0.31,))),
    "std": described(attrs.evolve(INFO, std=(0.41,))),
    "eps": described(attrs.evolve(INFO, eps=Number("0.2"))),
}


def test_the_cases_below_are_all_there_is_in_a_data_set() -> None:
    fields = {field.name for kind in (Dataset, DataInfo) for field in attrs.fields(kind)}
    assert set(CHANGED) == fields - {"info"}


@pytest.mark.parametrize("name", CHANGED)
def test_training_depends_on_all_but_test_images_name_and_radius(name: str) -> None:
    same = fingerprint.training_fingerprint(CHANGED[name]) == fingerprint.training_fingerprint(BASE)
    assert same == (name in {"test", "name", "eps"})


@pytest.mark.parametrize("name", CHANGED)
def test_measuring_depends_on_test_images_and_classes(name: str) -> None:
    same = fingerprint.test_fingerprint(CHANGED[name]) == fingerprint.test_fingerprint(BASE)
    assert same == (name not in {"test", "classes"})


def test_equal_data_sets_have_equal_fingerprints() -> None:
    again = attrs.evolve(
        BASE, info=attrs.evolve(INFO), train=toy_images(12, 1), test=toy_images(6, 2), extra=toy_images(5, 3)
    )
    assert fingerprint.training_fingerprint(again) == fingerprint.training_fingerprint(BASE)
    assert fingerprint.test_fingerprint(again) == fingerprint.test_fingerprint(BASE)


def test_extra_and_validation_images_are_not_mistaken_for_each_other() -> None:
    one, other = attrs.evolve(BASE, extra=None), attrs.evolve(BASE, extra=BASE.validation, validation=None)
    assert fingerprint.training_fingerprint(one) != fingerprint.training_fingerprint(other)


def test_images_set_aside_for_validation_count_by_which_they_are() -> None:
    split = [
        attrs.evolve(
            BASE, train=BASE.train.subset(torch.tensor(kept)), validation=BASE.train.subset(torch.tensor(held))
        )
        for kept, held in (([0, 1, 2], [3]), ([0, 1, 3], [2]), ([3], [0, 1, 2]))
    ]
    assert len({fingerprint.training_fingerprint(dataset) for dataset in split}) == 3

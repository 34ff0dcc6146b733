from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.api import DataSource
from rcframe.data.images import Batch, DataInfo, Dataset, Images, TensorImages
from rcframe.data.prepare import default_root, prepare
from rcframe.errors import RequestError
from rcframe.options import component

INFO = DataInfo("given", (1, 2, 2), ("a", "b", "c"), (0.5,), (0.5,))
NOWHERE = Path("nowhere")
Change = Literal["flip", "crop", "rotate"]


def numbered(labels: list[int]) -> TensorImages:
    """Images whose pixels tell their index (divided by 1000)."""
    index = torch.arange(len(labels)) / 1000
    return TensorImages(index.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), torch.tensor(labels))


def source(
    train: Images,
    test: Images | None = None,
    extra: Images | None = None,
    validation_images: Images | None = None,
    validation: float = 0.0,
    augment: tuple[Change, ...] = (),
) -> DataSource:
    @component
    class Given(DataSource):
        def load(self, root: Path) -> Dataset:
            assert root == NOWHERE
            return Dataset(INFO, train, numbered([0, 1, 2]) if test is None else test, extra, validation_images)

    return Given(validation=validation, augment=augment)


def indices(images: Images | None) -> list[int]:
    assert images is not None
    return (images.first(10**6).images[:, 0, 0, 0] * 1000).round().int().tolist()


class OddImages(Images):
    """Images that break a rule on purpose."""

    def __init__(self, x: Tensor, y: Tensor | None = None) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    @property
    def labels(self) -> Tensor | None:
        return self.y

    def fetch(self, index: Tensor) -> Batch:
        return Batch(self.x[index])


def test_a_sound_data_set_passes_with_the_augmentation_of_its_source() -> None:
    train, extra = numbered([0, 1, 2]), OddImages(torch.zeros(2, 1, 2, 2))
    dataset = prepare(source(train, extra=extra, augment=("flip", "crop")), NOWHERE, seed=0)
    assert dataset.train is train
    assert dataset.extra is extra
    assert dataset.validation is None
    assert dataset.augment == ("flip", "crop")
    assert dataset.info is INFO


def test_validation_images_are_taken_from_the_training_images() -> None:
    labels = [0] * 50 + [1] * 30 + [2] * 20
    dataset = prepare(source(numbered(labels), validation=0.2), NOWHERE, seed=0)
    train, held = indices(dataset.train), indices(dataset.validation)
    assert sorted(train + held) == list(range(100))
    assert [sum(labels[index] == label for index in held) for label in (0, 1, 2)] == [10, 6, 4]
    assert dataset.validation is not None
    assert dataset.validation.first(100).labels.tolist() == [labels[index] for index in held]


@given(
    st.lists(st.integers(0, 2), min_size=4, max_size=60),
    st.floats(0.05, 0.9),
    st.integers(0, 9),
)
def test_every_class_gives_its_share_as_nearly_as_whole_images_allow(
    labels: list[int], fraction: float, seed: int
) -> None:
    try:
        dataset = prepare(source(numbered(labels), validation=fraction), NOWHERE, seed)
    except RequestError:
        assert round(len(labels) * fraction) <= 3
        return
    train, held = indices(dataset.train), indices(dataset.validation)
    assert sorted(train + held) == list(range(len(labels)))
    assert abs(len(held) - len(labels) * fraction) <= 3
    for label in set(labels):
        wanted = labels.count(label) * fraction
        assert abs(sum(labels[index] == label for index in held) - wanted) <= 1
        assert any(labels[index] == label for index in train)


def test_the_whole_fraction_is_taken_although_each_class_alone_rounds_down() -> None:
    dataset = prepare(source(numbered([0] * 15 + [1] * 15 + [2] * 10), validation=0.1), NOWHERE, seed=0)
    assert len(indices(dataset.validation)) == 4


def test_the_seed_decides_which_images_are_set_aside() -> None:
    given_source = source(numbered([0, 1, 2] * 30), validation=0.3)
    held = [indices(prepare(given_source, NOWHERE, seed).validation) for seed in (0, 0, 1)]
    assert held[0] == held[1]
    assert held[0] != held[2]


def test_no_global_generator_is_touched() -> None:
    before = torch.get_rng_state()
    prepare(source(numbered([0, 1, 2] * 30), validation=0.3), NOWHERE, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_unlabelled_training_images_can_be_set_aside_too() -> None:
    dataset = prepare(source(TensorImages(torch.zeros(10, 1, 2, 2)), validation=0.3), NOWHERE, seed=0)
    assert dataset.validation is not None
    assert (len(dataset.train), len(dataset.validation)) == (7, 3)


def test_a_fraction_of_no_image_is_refused() -> None:
    with pytest.raises(RequestError, match=r"Validation of 0.01 .* no image of the 9 training images"):
        prepare(source(numbered([0, 1, 2] * 3), validation=0.01), NOWHERE, seed=0)


def test_a_source_with_validation_images_of_its_own_keeps_them() -> None:
    own = numbered([2, 1])
    assert prepare(source(numbered([0, 1]), validation_images=own), NOWHERE, seed=0).validation is own
    with pytest.raises(RequestError, match="`given` brings its own validation images"):
        prepare(source(numbered([0, 1] * 5), validation_images=own, validation=0.2), NOWHERE, seed=0)


@pytest.mark.parametrize("split", ["train", "test", "extra", "validation_images"])
@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (TensorImages(torch.full((3, 1, 2, 2), 255.0)), r"lie in \[255, 255\].*divide them by 255"),
        (TensorImages(torch.full((3, 1, 2, 2), -0.5)), r"lie in \[-0.5, -0.5\].*move the normalisation"),
        (TensorImages(torch.full((3, 1, 2, 2), torch.nan)), "hold values that are no numbers"),
        (OddImages(torch.ones(3, 1, 2, 2, dtype=torch.int32)), "torch.int32.*divide|torch.int32.*x.float"),
        (TensorImages(torch.zeros(3, 1, 2, 3)), r"shape \(1, 2, 3\), but the data set announces \(1, 2, 2\)"),
        (TensorImages(torch.zeros(0, 1, 2, 2)), "are none"),
        (numbered([0, 3]), "labels from 0 to 3, but the 3 classes are numbered 0 to 2"),
        (numbered([-1, 1]), "labels from -1 to 1"),
        (OddImages(torch.zeros(2, 1, 2, 2), torch.tensor([0])), "2 with 1 labels"),
        (OddImages(torch.zeros(1, 1, 2, 2), torch.tensor([0.0])), "labels of torch.float32"),
    ],
)
def test_a_split_that_breaks_a_rule_is_refused_by_name(split: str, images: Images, reason: str) -> None:
    splits: dict[str, Images] = {"train": numbered([0, 1, 2]), split: images}
    name = {"train": "training", "validation_images": "validation"}.get(split, split)
    with pytest.raises(RequestError, match=rf"^The {name} images of `given` .*{reason}"):
        prepare(source(splits.pop("train"), **splits), NOWHERE, seed=0)  # type: ignore[arg-type]  # images only


def test_the_root_is_the_variable_if_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RCFRAME_DATA", "~/sets")
    assert default_root() == Path.home() / "sets"
    monkeypatch.setenv("RCFRAME_DATA", "")
    assert default_root() == platformdirs.user_data_path("rcframe")
    monkeypatch.delenv("RCFRAME_DATA")
    assert default_root() == platformdirs.user_data_path("rcframe")

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from rcframe.data.tiny_imagenet import TinyImageNet
from rcframe.errors import RequestError

COLOURS = {"n03": (250, 0, 0), "n01": (0, 250, 0), "n02": (0, 0, 250)}


def save(path: Path, colour: tuple[int, int, int], mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), colour).convert(mode).save(path, quality=95)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The unpacked archive with three classes, two training images each, and two labelled test images."""
    folder = tmp_path / "tiny-imagenet-200"
    for name, colour in COLOURS.items():
        for number in range(2):
            save(folder / "train" / name / "images" / f"{name}_{number}.JPEG", colour)
        (folder / "train" / name / f"{name}_boxes.txt").touch()
    (folder / "wnids.txt").write_text("\n".join(COLOURS) + "\n")
    save(folder / "val/images/val_0.JPEG", COLOURS["n02"])
    save(folder / "val/images/val_1.JPEG", (100, 100, 100), mode="L")
    (folder / "val/val_annotations.txt").write_text("val_1.JPEG\tn01\t0\t0\t63\t63\nval_0.JPEG\tn02\t3\t4\t50\t60\n")
    return folder


def test_training_images_are_labelled_by_their_folder_in_alphabetical_order(folder: Path) -> None:
    dataset = TinyImageNet().load(folder.parent)
    assert dataset.info.classes == ("n01", "n02", "n03")
    batch = dataset.train.first(10)
    assert batch.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert batch.images.shape == (6, 3, 64, 64)
    expected = torch.tensor([COLOURS[dataset.info.classes[label]] for label in batch.labels]) / 255
    assert torch.allclose(batch.images.mean(dim=(2, 3)), expected, atol=0.02)


def test_validation_images_with_their_annotations_are_the_test_split(folder: Path) -> None:
    dataset = TinyImageNet().load(folder.parent)
    batch = dataset.test.first(10)
    assert batch.labels.tolist() == [0, 1]
    expected = torch.tensor([[100, 100, 100], COLOURS["n02"]]) / 255
    assert torch.allclose(batch.images.mean(dim=(2, 3)), expected, atol=0.02)
    assert dataset.validation is None


def test_the_network_is_told_shape_and_statistics(folder: Path) -> None:
    info = TinyImageNet().load(folder.parent).info
    assert (info.name, info.shape, info.eps.text) == ("tiny-imagenet", (3, 64, 64), "8/255")
    assert (info.mean, info.std) == ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262))


def test_a_missing_part_is_named(folder: Path) -> None:
    (folder / "val/val_annotations.txt").unlink()
    with pytest.raises(RequestError, match=r"`tiny-imagenet-200` lacks `val/val_annotations.txt`"):
        TinyImageNet().load(folder.parent)


def test_a_class_without_images_is_named(folder: Path) -> None:
    (folder / "wnids.txt").write_text("n01\nn02\nn03\nn04\n")
    with pytest.raises(RequestError, match=r"n04` holds no images, but `wnids.txt` lists the class `n04`"):
        TinyImageNet().load(folder.parent)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("val_0.JPEG\tn09\t0\n", "line 1 names the class `n09`"),
        ("val_0.JPEG\tn01\t0\nval_0.JPEG\n", "line 2 names the class ``"),
        ("val_7.JPEG\tn01\t0\n", "line 1 names the image `val_7.JPEG`, which is not in"),
        ("", "it lists no images"),
    ],
)
def test_annotations_that_do_not_fit_are_damage(folder: Path, lines: str, reason: str) -> None:
    (folder / "val/val_annotations.txt").write_text(lines)
    with pytest.raises(RequestError, match=rf"val_annotations.txt` is damaged: {reason}"):
        TinyImageNet().load(folder.parent)


def test_too_few_classes_are_damage(folder: Path) -> None:
    (folder / "wnids.txt").write_text("n01\n")
    with pytest.raises(RequestError, match=r"wnids.txt` is damaged: it lists 1 classes"):
        TinyImageNet().load(folder.parent)


@pytest.mark.parametrize("path", ["train/n02/images/n02_1.JPEG", "val/images/val_0.JPEG"])
def test_an_unreadable_image_is_named(folder: Path, path: str) -> None:
    (folder / path).write_bytes(b"not an image")
    with pytest.raises(RequestError, match=rf"`{folder / path}` is not a readable image"):
        TinyImageNet().load(folder.parent)

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from rcframe.data.folder import Folder
from rcframe.errors import RequestError
from rcframe.options import build

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def save(folder: Path, name: str, colour: tuple[int, int, int], size: tuple[int, int] = (6, 6)) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(folder / name)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    folder = tmp_path / "pets"
    for number in range(3):
        save(folder / "train" / "dog", f"{number}.png", RED)
        save(folder / "train" / "cat", f"{number}.jpg", BLUE, size=(9, 7))
    save(folder / "val" / "dog", "last.png", RED)
    return folder


def test_classes_are_numbered_in_the_order_of_their_names(pets: Path) -> None:
    dataset = Folder(path=str(pets), size=8).load(Path("unused"))
    assert (dataset.info.name, dataset.info.shape, dataset.info.classes) == ("pets", (3, 8, 8), ("cat", "dog"))
    assert dataset.train.labels is not None
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    batch = dataset.test.first(9)
    assert batch.labels.tolist() == [1]
    assert torch.equal(batch.images, torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 8, 8))


def test_images_are_32_pixels_wide_unless_asked_otherwise(pets: Path) -> None:
    assert Folder(path=str(pets)).load(Path()).train.first(1).images.shape == (1, 3, 32, 32)


def test_statistics_are_those_of_the_training_images(pets: Path) -> None:
    info = Folder(path=str(pets)).load(Path()).info
    assert info.mean == pytest.approx((0.5, 0, 0.5), abs=0.01)
    assert info.std == pytest.approx((0.5, 1 / 255, 0.5), abs=0.01)
    assert info.eps.text == "8/255"


def test_a_test_folder_serves_when_there_is_no_val_folder(pets: Path) -> None:
    save(pets / "test" / "cat", "a.png", GREEN)
    assert Folder(path=str(pets)).load(Path()).test.first(1).labels.tolist() == [1]
    (pets / "val").rename(pets / "unused")
    assert Folder(path=str(pets)).load(Path()).test.first(1).labels.tolist() == [0]


def test_the_path_is_the_positional_option(pets: Path) -> None:
    assert build(Folder, {"": str(pets)}, "folder") == Folder(path=str(pets))


def test_a_relative_path_is_looked_up_here_first_and_then_below_the_root(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for label in ("owl", "rat"):
        for split in ("train", "val"):
            save(root / "pets" / split / label, "a.png", GREEN)
    monkeypatch.chdir(tmp_path)
    assert Folder(path="pets").load(root).info.classes == ("cat", "dog")
    monkeypatch.chdir(root)
    pets.rename(tmp_path / "gone")
    assert Folder(path="pets").load(root).info.classes == ("owl", "rat")
    monkeypatch.chdir(tmp_path)
    assert Folder(path="pets").load(root).info.classes == ("owl", "rat")


def test_hidden_folders_and_other_files_are_no_classes(pets: Path) -> None:
    (pets / "train" / ".cache").mkdir()
    (pets / "train" / "notes.txt").touch()
    (pets / "train" / "cat" / "notes.txt").touch()
    dataset = Folder(path=str(pets)).load(Path())
    assert dataset.info.classes == ("cat", "dog")
    assert len(dataset.train) == 6


def test_a_path_must_be_given() -> None:
    with pytest.raises(RequestError, match="write `folder:PATH`"):
        Folder().load(Path())


def test_a_path_without_training_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=rf"no `train` folder in `{tmp_path}`: .* PATH/train/CLASS"):
        Folder(path=str(tmp_path)).load(Path())


def test_what_is_absent_is_told_of_before_images_are_read(pets: Path, tmp_path: Path) -> None:
    assert Folder(path=str(pets)).lacking(tmp_path) is None
    assert "expects images in PATH/train/CLASS" in str(Folder(path="nowhere").lacking(tmp_path))
    shutil.rmtree(pets / "val")
    assert "has no `val` or `test` folder" in str(Folder(path=str(pets)).lacking(tmp_path))


def test_a_single_class_is_refused(pets: Path) -> None:
    (pets / "train" / "cat").rename(pets / "cat")
    with pytest.raises(RequestError, match=rf"`{pets / 'train'}` has 1 class folders \(dog\)"):
        Folder(path=str(pets)).load(Path())


def test_a_class_without_images_is_refused(pets: Path) -> None:
    (pets / "train" / "eel").mkdir()
    with pytest.raises(RequestError, match=rf"`{pets / 'train' / 'eel'}` holds no images"):
        Folder(path=str(pets)).load(Path())


def test_no_test_images_are_refused(pets: Path) -> None:
    (pets / "val").rename(pets / "unused")
    with pytest.raises(RequestError, match=rf"`{pets}` has no `val` or `test` folder"):
        Folder(path=str(pets)).load(Path())
    (pets / "val").mkdir()
    with pytest.raises(RequestError, match=rf"`{pets / 'val'}` has no class folders"):
        Folder(path=str(pets)).load(Path())


def test_a_test_class_that_was_never_trained_is_refused(pets: Path) -> None:
    save(pets / "val" / "dogs", "a.png", RED)
    with pytest.raises(RequestError, match=r"dogs` is no class of the training images\. Did you mean `dog`\?"):
        Folder(path=str(pets)).load(Path())


def test_an_unreadable_image_is_named(pets: Path) -> None:
    (pets / "val" / "dog" / "broken.png").write_text("not an image")
    with pytest.raises(RequestError, match=r"broken\.png` is not a readable image"):
        Folder(path=str(pets)).load(Path())

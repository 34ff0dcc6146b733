from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rcframe.data.batches import Batches
from rcframe.data.file_images import FileImages, check_headers, decode, image_files
from rcframe.errors import RequestError, RunFailed


def save(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (6, 6)) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return str(path)


def test_images_are_decoded_in_the_order_of_the_index(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{number}.png", (10 * number, 0, 255 - number)) for number in range(20)]
    images = FileImages(files, torch.arange(20) % 3, size=4)
    batch = images.fetch(torch.tensor([17, 3, 3, 0]))
    assert len(images) == 20
    assert batch.images.shape == (4, 3, 4, 4)
    assert batch.images.is_contiguous()
    expected = torch.tensor([[170, 0, 238], [30, 0, 252], [30, 0, 252], [0, 0, 255]]) / 255
    assert torch.allclose(batch.images, expected.view(4, 3, 1, 1).expand(4, 3, 4, 4))
    assert batch.labels.tolist() == [2, 0, 0, 0]
    assert images.labels.tolist() == [number % 3 for number in range(20)]


def test_rows_stay_rows(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    fetched = FileImages([str(tmp_path / "a.png")], torch.tensor([0]), size=4).first(1).images[0]
    assert torch.equal(fetched, torch.from_numpy(pixels).permute(2, 0, 1) / 255)


def test_no_images_can_be_fetched_too(tmp_path: Path) -> None:
    images = FileImages([save(tmp_path / "a.png", (1, 2, 3))], torch.tensor([0]), size=4)
    assert images.fetch(torch.tensor([], dtype=torch.int64)).images.shape == (0, 3, 4, 4)


def test_an_image_of_the_wanted_size_keeps_every_pixel(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "exact.png")
    assert np.array_equal(decode(str(tmp_path / "exact.png"), 8).numpy(), pixels)


@pytest.mark.parametrize("upright", [False, True])
def test_the_middle_square_of_a_longer_image_is_kept(tmp_path: Path, upright: bool) -> None:
    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, :10], stripes[:, 10:20], stripes[:, 20:] = (255, 0, 0), (0, 200, 0), (0, 0, 255)
    Image.fromarray(stripes.transpose(1, 0, 2) if upright else stripes).save(tmp_path / "stripes.png")
    assert torch.equal(
        decode(str(tmp_path / "stripes.png"), 5), torch.tensor([0, 200, 0], dtype=torch.uint8).expand(5, 5, 3)
    )


def test_halving_averages_pixels(tmp_path: Path) -> None:
    checks = np.indices((32, 32)).sum(axis=0) % 2 * 200
    Image.fromarray(checks.astype(np.uint8)).save(tmp_path / "checks.png")
    middle = decode(str(tmp_path / "checks.png"), 16)[4:12, 4:12]
    assert torch.equal(middle, torch.full_like(middle, 100))


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK"])
def test_images_of_other_modes_become_colour(tmp_path: Path, mode: str) -> None:
    path = tmp_path / ("image.tif" if mode == "CMYK" else "image.png")
    Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(path)
    assert torch.equal(decode(str(path), 4), torch.full((4, 4, 3), 255, dtype=torch.uint8))


@pytest.mark.parametrize("side", [64, 128, 640])
def test_large_photographs_come_out_as_if_decoded_in_full(tmp_path: Path, side: int) -> None:
    blocks = np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8)
    picture = np.stack([np.kron(blocks, np.ones((side // 16, side // 16), np.uint8))] * 3, axis=-1)
    Image.fromarray(picture).save(tmp_path / "blocks.jpg", quality=95)
    Image.fromarray(picture).save(tmp_path / "blocks.png")
    quick, full = (decode(str(tmp_path / name), 32).float() for name in ("blocks.jpg", "blocks.png"))
    assert float((quick - full).abs().mean()) < 4


def test_an_unreadable_image_is_named_when_it_is_fetched(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", (1, 2, 3), size=(64, 64))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        images = FileImages([good, str(tmp_path / name)], torch.tensor([0, 1]), size=8)
        assert images.fetch(torch.tensor([0])).images.shape == (1, 3, 8, 8)
        with pytest.raises(RunFailed, match=rf"The image `{tmp_path / name}` cannot be read"):
            images.fetch(torch.tensor([0, 1]))


def test_headers_are_checked(tmp_path: Path) -> None:
    good = save(tmp_path / "good.png", (1, 2, 3))
    check_headers([good])
    (tmp_path / "bad.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    for name in ("bad.png", "empty.png", "gone.png"):
        with pytest.raises(RequestError, match=rf"`{tmp_path / name}` is not a readable image"):
            check_headers([good, str(tmp_path / name)])


def test_of_very_many_files_some_are_opened(tmp_path: Path) -> None:
    good, gone = save(tmp_path / "good.png", (1, 2, 3)), str(tmp_path / "gone.png")
    check_headers([good, *[gone] * 2] * 2000)
    with pytest.raises(RequestError, match="not a readable image"):
        check_headers([good] * 4000 + [gone] * 4000)


def test_image_files_are_found_below_a_folder_and_sorted(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPEG", "deep/er/c.jpg"):
        save(tmp_path / name, (1, 2, 3))
    (tmp_path / "notes.txt").touch()
    (tmp_path / "folder.png").mkdir()
    assert image_files(tmp_path) == [str(tmp_path / name) for name in ("a.JPEG", "b.png", "deep/er/c.jpg")]


def test_every_file_needs_a_label() -> None:
    with pytest.raises(ValueError, match="one label for each of 2 files"):
        FileImages(["a", "b"], torch.tensor([0]), size=4)


def test_sixteen_bit_images_keep_their_grey_values(tmp_path: Path) -> None:
    for value, expected in ((0, 0), (25700, 100), (65535, 255)):
        file = tmp_path / f"{value}.png"
        Image.fromarray(np.full((4, 4), value, dtype=np.uint16)).save(file)
        assert set(decode(str(file), 4).flatten().tolist()) == {expected}


def test_images_of_unknown_range_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "float.tif"
    Image.fromarray(np.full((4, 4), 0.5, dtype=np.float32)).save(file)
    with pytest.raises(RunFailed, match="floating-point numbers of unknown range"):
        decode(str(file), 4)


NAMES = ("cat/1.png", "cat/2.png", "dog/1.png")


def three(folder: Path, size: int = 4) -> FileImages:
    return FileImages([str(folder / name) for name in NAMES], torch.tensor([0, 0, 1]), size)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in NAMES:
        save(tmp_path / "pets" / name, (1, 2, 3))
    return tmp_path / "pets"


def test_the_fingerprint_does_not_depend_on_where_the_files_lie(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = pets.parent / "far" / "away"
    shutil.copytree(pets, elsewhere)
    assert three(elsewhere).fingerprint() == three(pets).fingerprint()
    monkeypatch.chdir(pets)
    assert three(Path()).fingerprint() == three(pets).fingerprint()


def touch(file: Path) -> Path:
    """Move the time of change by the least step that every file system keeps."""
    found = file.stat()
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns + 1000))
    return file


def lengthen(file: Path) -> Path:
    """Add a byte and put the old time back."""
    found = file.stat()
    file.write_bytes(file.read_bytes() + b"!")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))
    return file


def rename(file: Path) -> Path:
    return file.rename(file.with_name("other.png"))


@pytest.mark.parametrize("change", [touch, lengthen, rename])
@pytest.mark.parametrize("number", range(3))
def test_a_change_of_any_file_changes_the_fingerprint(pets: Path, change: Callable[[Path], Path], number: int) -> None:
    before = three(pets)
    before.fingerprint()
    files = list(before.files)
    files[number] = str(change(Path(files[number])))
    assert FileImages(files, before.labels, 4).fingerprint() != before.fingerprint()


def test_order_count_labels_and_side_change_the_fingerprint(pets: Path) -> None:
    images = three(pets)
    files, y = images.files, images.labels
    changed = [
        FileImages([files[1], files[0], files[2]], y, 4),
        FileImages(files[:2], y[:2], 4),
        FileImages(files, torch.tensor([0, 1, 1]), 4),
        FileImages(files, y, 5),
    ]
    assert len({images.fingerprint(), *(other.fingerprint() for other in changed)}) == 5


def test_a_single_file_and_none_have_fingerprints(pets: Path) -> None:
    one = FileImages([str(pets / NAMES[0])], torch.tensor([0]), 4)
    none = FileImages([], torch.tensor([], dtype=torch.int64), 4)
    assert one.fingerprint() != none.fingerprint()


GONE = r"^The image `{}` is gone, but the data set was loaded with it\. Put the file back\.$"


def test_a_file_lost_before_the_fingerprint_is_named(pets: Path) -> None:
    images = three(pets)
    (pets / NAMES[1]).unlink()
    with pytest.raises(RunFailed, match=GONE.format(pets / NAMES[1])):
        images.fingerprint()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_lost_in_the_middle_of_an_epoch_is_named(pets: Path, workers: int) -> None:
    # Many more batches than are fetched ahead.
    images = FileImages([str(pets / NAMES[0])] * 39 + [str(pets / NAMES[2])], torch.zeros(40), 4)
    batches = Batches(images, 1, seed=0, shuffle=False, workers=workers).epoch(0)
    assert next(batches).images.shape == (1, 3, 4, 4)
    (pets / NAMES[2]).unlink()
    with pytest.raises(RunFailed, match=GONE.format(pets / NAMES[2])) as caught:
        list(batches)
    assert caught.value.exit_code == 1

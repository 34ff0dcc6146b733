from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rcframe.data.cifar import Cifar10, Cifar100, CifarSource
from rcframe.data.images import Images, TensorImages
from rcframe.errors import RequestError
from rcframe.options import build

Bytes = npt.NDArray[np.uint8]
PER_FILE = 3
FILES = {"cifar10": [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"], "cifar100": ["train", "test"]}
CLASSES = {"cifar10": 10, "cifar100": 100}


def pictures(file: int) -> Bytes:
    """Rows of 3072 bytes of which each tells its file, image, channel, row and column."""
    image, channel, row, column = np.meshgrid(range(PER_FILE), range(3), range(32), range(32), indexing="ij")
    pixels: npt.NDArray[np.uint8] = (
        (41 * file + 17 * image + 80 * channel + 3 * row + column).astype(np.uint8).reshape(PER_FILE, 3072)
    )
    return pixels


def labels(name: str, file: int) -> list[int]:
    return [(7 * file + 3 * image) % CLASSES[name] for image in range(PER_FILE)]


def write_binary(root: Path, name: str) -> Path:
    folder = root / {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}[name]
    folder.mkdir()
    for number, file in enumerate(FILES[name]):
        own = np.array(labels(name, number), dtype=np.uint8).reshape(-1, 1)
        coarse = np.full_like(own, 19)
        columns = [coarse, own] if name == "cifar100" else [own]
        np.hstack([*columns, pictures(number)]).tofile(folder / f"{file}.bin")
    return folder


def write_pickled(root: Path, name: str) -> Path:
    folder = root / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    folder.mkdir()
    for number, file in enumerate(FILES[name]):
        content = {"data": pictures(number), "filenames": ["a.png"] * PER_FILE, "batch_label": "part"}
        if name == "cifar100":
            content |= {"coarse_labels": [19] * PER_FILE, "fine_labels": labels(name, number)}
        else:
            content |= {"labels": labels(name, number)}
        store(folder / file, content)
    return folder


def store(path: Path, content: object) -> None:
    path.write_bytes(pickle.dumps(content, protocol=2))


def check(images: Images, name: str, files: range) -> None:
    assert isinstance(images, TensorImages)
    expected = np.concatenate([pictures(file) for file in files])
    assert images.x.shape == (len(expected), 3, 32, 32)
    # Image 1, channel 2, row 5, column 9 lies at this place of its record: planes of 1024, rows of 32.
    assert int(images.x[1, 2, 5, 9]) == expected[1, 2 * 1024 + 5 * 32 + 9]
    assert torch.equal(images.x.flatten(1), torch.from_numpy(expected))
    assert images.labels is not None
    assert images.labels.tolist() == [label for file in files for label in labels(name, file)]


@pytest.mark.parametrize("write", [write_binary, write_pickled])
@pytest.mark.parametrize("source", [Cifar10(), Cifar100()])
def test_both_forms_of_both_data_sets_are_read(
    tmp_path: Path, source: CifarSource, write: Callable[[Path, str], Path]
) -> None:
    write(tmp_path, source.name)
    dataset = source.load(tmp_path)
    last = len(FILES[source.name]) - 1
    check(dataset.train, source.name, range(last))
    check(dataset.test, source.name, range(last, last + 1))
    info = dataset.info
    assert (info.name, info.shape, len(info.classes)) == (source.name, (3, 32, 32), CLASSES[source.name])
    assert (info.mean, info.std) == ((0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))
    assert info.eps.text == "8/255"
    assert dataset.extra is None


def test_classes_are_named_in_the_order_of_their_labels() -> None:
    assert Cifar10.classes == (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    assert len(set(Cifar100.classes)) == 100
    assert list(Cifar100.classes) == sorted(Cifar100.classes)


def test_the_binary_form_is_preferred_when_it_is_complete(tmp_path: Path) -> None:
    binary = write_binary(tmp_path, "cifar10")
    pickled = write_pickled(tmp_path, "cifar10")
    (pickled / "test_batch").write_bytes(b"never read")
    assert len(Cifar10().load(tmp_path).test) == PER_FILE
    (binary / "test_batch.bin").unlink()
    with pytest.raises(RequestError, match="test_batch` is damaged"):
        Cifar10().load(tmp_path)


def test_the_images_of_cifar100_can_be_the_extra_set_without_their_labels(tmp_path: Path) -> None:
    write_binary(tmp_path, "cifar10")
    source = build(Cifar10, {"extra": "cifar100"}, "cifar10")
    with pytest.raises(RequestError, match="The files of `cifar100` are not below"):
        source.load(tmp_path)
    write_pickled(tmp_path, "cifar100")
    dataset = source.load(tmp_path)
    assert dataset.info.name == "cifar10"
    assert isinstance(dataset.extra, TensorImages)
    assert torch.equal(dataset.extra.x.flatten(1), torch.from_numpy(pictures(0)))
    assert dataset.extra.labels is None


@pytest.mark.parametrize("lost", [1, 3072, 100])
def test_a_truncated_binary_file_is_named_with_its_size(tmp_path: Path, lost: int) -> None:
    path = write_binary(tmp_path, "cifar10") / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:-lost])
    size = PER_FILE * 3073 - lost
    with pytest.raises(RequestError, match=rf"`{path}` .* {size} bytes, expected a multiple of 3073"):
        Cifar10().load(tmp_path)


def test_an_empty_binary_file_is_named(tmp_path: Path) -> None:
    path = write_binary(tmp_path, "cifar100") / "test.bin"
    path.write_bytes(b"")
    with pytest.raises(RequestError, match=rf"`{path}` .* 0 bytes, expected a multiple of 3074"):
        Cifar100().load(tmp_path)


@pytest.mark.parametrize("number", [1, 4])
def test_a_training_file_that_lost_whole_images_is_named(tmp_path: Path, number: int) -> None:
    path = write_binary(tmp_path, "cifar10") / f"data_batch_{number}.bin"
    path.write_bytes(path.read_bytes()[:-3073])
    with pytest.raises(RequestError, match=rf"`{path}` .* 2 images, expected 3 as in the other training files"):
        Cifar10().load(tmp_path)


def test_labels_beyond_the_classes_are_named(tmp_path: Path) -> None:
    path = write_binary(tmp_path, "cifar10") / "data_batch_3.bin"
    content = bytearray(path.read_bytes())
    content[0] = 10
    path.write_bytes(content)
    with pytest.raises(RequestError, match=rf"`{path}` .* labels from \d to 10, expected 0 to 9"):
        Cifar10().load(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    (write_pickled(tmp_path, "cifar10") / "data_batch_4").unlink()
    with pytest.raises(RequestError, match="`cifar-10-batches-py` lacks `data_batch_4`"):
        Cifar10().load(tmp_path)


class Malicious:
    """Runs a command as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


def test_a_pickled_batch_that_would_run_a_command_is_refused(tmp_path: Path) -> None:
    path, marker = write_pickled(tmp_path, "cifar10") / "data_batch_1", tmp_path / "marker"
    store(path, {"data": pictures(0), "labels": labels("cifar10", 0), "more": Malicious(marker)})
    with pytest.raises(RequestError, match=rf"`{path}` was refused: .* wants `{os.name}.system`"):
        Cifar10().load(tmp_path)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([1, 2], "expected a dictionary with `data` and `labels`"),
        ({"data": pictures(0)}, "expected a dictionary with `data` and `labels`"),
        ({"data": pictures(0)[:, :-1], "labels": [0] * 3}, r"uint8 \(3, 3071\), expected uint8 \(images, 3072\)"),
        ({"data": pictures(0).astype(np.float64), "labels": [0] * 3}, r"float64 \(3, 3072\), expected uint8"),
        ({"data": "pixels", "labels": [0] * 3}, "its `data` are str, expected uint8"),
        ({"data": pictures(0), "labels": [0, 1]}, "2 labels for 3 images"),
        ({"data": pictures(0), "labels": ["cat"] * 3}, "`labels` are not a list of whole numbers"),
        ({"data": pictures(0), "labels": None}, "`labels` are not a list of whole numbers"),
    ],
)
def test_a_pickled_batch_that_holds_something_else_is_damaged(tmp_path: Path, content: object, reason: str) -> None:
    path = write_pickled(tmp_path, "cifar10") / "data_batch_5"
    store(path, content)
    with pytest.raises(RequestError, match=rf"`{path}` is damaged: .*{reason}"):
        Cifar10().load(tmp_path)


def test_fetched_images_are_floats_of_their_own(tmp_path: Path) -> None:
    write_pickled(tmp_path, "cifar100")
    train = Cifar100().load(tmp_path).train
    first: Tensor = train.first(1).images
    first.zero_()
    assert float(train.first(1).images.max()) > 0

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torchvision

from rcframe.data.cifar import Cifar10, Cifar100
from rcframe.data.files import Layout
from rcframe.data.images import DataInfo, Dataset, TensorImages
from rcframe.data.mnist import FashionMnist, Mnist
from rcframe.data.svhn import Svhn
from rcframe.data.tiny_imagenet import TinyImageNet
from rcframe.data.vision import OFFLINE_VARIABLES, PublishedSource
from rcframe.errors import RequestError, RunFailed
from rcframe.options import component


@component
class OneFile(PublishedSource):
    """A data set whose only file says how many images there are."""

    name: ClassVar[str] = "one-file"
    failure: ClassVar[Exception | None] = None

    def layouts(self) -> tuple[Layout, ...]:
        return (Layout("one", ("count",)),)

    def fetch(self, root: Path) -> None:
        if self.failure is not None:
            raise self.failure
        (root / "one").mkdir()
        (root / "one/count").write_text("3")

    def read(self, root: Path, layout: Layout) -> Dataset:
        images = TensorImages(torch.zeros(int(layout.path(root, "count").read_text()), 1, 1, 1))
        return Dataset(DataInfo("one-file", (1, 1, 1), ("a", "b"), (0.0,), (1.0,)), images, images)


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OFFLINE_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_files_that_are_there_are_read_without_a_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    OneFile().fetch(tmp_path)
    monkeypatch.setattr(OneFile, "failure", OSError("no network"))
    assert len(OneFile(download=True).load(tmp_path).train) == 3


def test_absent_files_are_not_downloaded_unless_asked(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"`count` in `one`.*: `rcframe data show one-file:download=t"):
        OneFile().load(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_absent_files_are_downloaded_when_asked_into_a_new_root(tmp_path: Path) -> None:
    assert len(OneFile(download=True).load(tmp_path / "new/root").train) == 3


@pytest.mark.parametrize("variable", OFFLINE_VARIABLES)
@pytest.mark.parametrize(("value", "forbids"), [("1", True), ("TRUE", True), ("0", False), ("", False)])
def test_downloads_can_be_forbidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, forbids: bool
) -> None:
    monkeypatch.setenv(variable, value)
    if not forbids:
        assert len(OneFile(download=True).load(tmp_path).train) == 3
        return
    with pytest.raises(RequestError, match=f"`one-file` was to be downloaded, but `{variable}` forbids downloads"):
        OneFile(download=True).load(tmp_path)


@pytest.mark.parametrize("failure", [OSError("no\n route"), RuntimeError("no route")])
def test_a_failed_download_says_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    monkeypatch.setattr(OneFile, "failure", failure)
    with pytest.raises(RunFailed, match=r"download of `one-file` to `.*` failed: no route"):
        OneFile(download=True).load(tmp_path)


def test_a_download_without_torchvision_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(RequestError, match="needs torchvision: run `pip install torchvision`"):
        Mnist(download=True).load(tmp_path)


def test_a_download_that_brings_nothing_still_names_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OneFile, "fetch", lambda self, root: None)
    with pytest.raises(RequestError, match="The files of `one-file` are not below") as caught:
        OneFile(download=True).load(tmp_path)
    assert "download=true" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "name", "calls"),
    [
        (Mnist(), "MNIST", [("", {"download": True})]),
        (FashionMnist(), "FashionMNIST", [("", {"download": True})]),
        (Svhn(), "SVHN", [("svhn", {"split": split, "download": True}) for split in ("train", "test")]),
        (
            Svhn(extra=True),
            "SVHN",
            [("svhn", {"split": split, "download": True}) for split in ("train", "test", "extra")],
        ),
    ],
)
def test_torchvision_is_asked_for_the_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: PublishedSource,
    name: str,
    calls: list[tuple[str, dict[str, object]]],
) -> None:
    asked = []
    monkeypatch.setattr(torchvision.datasets, name, lambda root, **options: asked.append((Path(root), options)))
    source.fetch(tmp_path)
    assert asked == [(tmp_path / folder, options) for folder, options in calls]


@pytest.mark.parametrize(
    ("source", "archive"),
    [
        (Cifar10(), "cifar-10-python.tar.gz"),
        (Cifar100(), "cifar-100-python.tar.gz"),
        (TinyImageNet(), "tiny-imagenet-200.zip"),
    ],
)
def test_archives_are_downloaded_with_their_checksum_and_unpacked_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: PublishedSource, archive: str
) -> None:
    layout = source.layouts()[-1]
    asked = []

    def download(url: str, root: str, filename: str, md5: str) -> None:
        asked.append((url.rpartition("/")[2], filename, len(md5)))
        for name in layout.names:
            file = tmp_path / "published" / layout.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
        kind = "zip" if filename.endswith(".zip") else "gztar"
        shutil.make_archive(str(Path(root, archive.partition(".")[0])), kind, tmp_path / "published")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", download)
    root = tmp_path / "root"
    root.mkdir()
    source.fetch(root)
    assert asked == [(archive, archive, 32)]
    assert layout.missing(root) == ()
    assert all(layout.path(root, name).read_text() == name for name in layout.names)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Mnist(), ["`train-images-idx3-ubyte`", "`t10k-labels-idx1-ubyte` (or `.gz`) in `MNIST/raw`"]),
        (FashionMnist(), ["`FashionMNIST/raw`"]),
        (Cifar10(), ["`data_batch_5.bin`", "`cifar-10-batches-bin`", "`test_batch` in `cifar-10-batches-py`"]),
        (Cifar100(), ["`train.bin`, `test.bin` in `cifar-100-binary`", "`train`, `test` in `cifar-100-python`"]),
        (Svhn(), ["`train_32x32.mat`, `test_32x32.mat` in `svhn`"]),
        (Svhn(extra=True), ["`extra_32x32.mat`"]),
        (TinyImageNet(), ["`wnids.txt`", "`val/val_annotations.txt`", "`tiny-imagenet-200`"]),
    ],
)
def test_every_published_data_set_names_its_absent_files(
    tmp_path: Path, source: PublishedSource, expected: list[str]
) -> None:
    with pytest.raises(RequestError) as caught:
        source.load(tmp_path)
    for part in (*expected, f"`{tmp_path}`", "`--data-root`", "`RCFRAME_DATA`", f"show {source.name}:download=true`"):
        assert part in str(caught.value)

"""Small files in the layouts of published data sets: random pictures in few, or all, of their classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

_CIFAR10 = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


def write_cifar10(root: Path, count: int) -> None:
    """Write five training files and the test file of CIFAR-10's binary version, `count` pictures each."""
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for number, name in enumerate(_CIFAR10):
        _records(number, count, classes=10, coarse=False).tofile(folder / f"{name}.bin")


def write_cifar100(root: Path, count: int) -> None:
    """Write the training and the test file of CIFAR-100's binary version, `count` pictures each."""
    folder = root / "cifar-100-binary"
    folder.mkdir()
    for number, name in enumerate(("train", "test")):
        _records(number, count, classes=100, coarse=True).tofile(folder / f"{name}.bin")


def write_tiny_imagenet(root: Path, classes: int) -> None:
    """Write Tiny-ImageNet's folders with fewer classes: a training picture and a labelled test picture of each."""
    folder, draw = root / "tiny-imagenet-200", np.random.default_rng(0)
    names = [f"n{number:08}" for number in range(classes)]
    lines = []
    for number, name in enumerate(names):
        _picture(folder / "train" / name / "images" / f"{name}_0.JPEG", draw)
        _picture(folder / "val" / "images" / f"val_{number}.JPEG", draw)
        lines.append(f"val_{number}.JPEG\t{name}\t0\t0\t63\t63\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    (folder / "wnids.txt").write_text("\n".join(names) + "\n")


def _records(seed: int, count: int, classes: int, coarse: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    draw = np.random.default_rng(seed)
    labels = (np.arange(count) % classes).astype(np.uint8).reshape(-1, 1)
    pixels = draw.integers(0, 256, (count, 3072)).astype(np.uint8)
    return np.hstack([*([np.zeros_like(labels)] if coarse else []), labels, pixels])


def _picture(path: Path, draw: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(draw.integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(path)


def write_svhn(root: Path, train: int, test: int, extra: int) -> None:
    """Write the three files of SVHN, in which the digit 0 is called 10."""
    folder = root / "svhn"
    folder.mkdir()
    for seed, (split, count) in enumerate({"train": train, "test": test, "extra": extra}.items()):
        draw = np.random.default_rng(seed)
        pixels = draw.integers(0, 256, (32, 32, 3, count)).astype(np.uint8)
        labels = (np.arange(count) % 10 + 1).astype(np.uint8).reshape(-1, 1)
        savemat(folder / f"{split}_32x32.mat", {"X": pixels, "y": labels})

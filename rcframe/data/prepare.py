"""From a data source to a data set that can be trusted: loaded, checked, validation images set aside."""

from __future__ import annotations

import os
from pathlib import Path

import attrs
import platformdirs
import torch
from torch import Generator, Tensor

from rcframe.api import DataSource
from rcframe.data.images import DataInfo, Dataset, Images, check_pixels
from rcframe.errors import RequestError
from rcframe.seeding import generator

_FIRST = 64


def default_root() -> Path:
    """Return the folder of data sets: `RCFRAME_DATA` if set, else the platform's data folder."""
    chosen = os.environ.get("RCFRAME_DATA")
    return Path(chosen).expanduser() if chosen else platformdirs.user_data_path("rcframe")


def about_root(root: Path | None) -> str:
    """Say that a folder of data sets which was named is not there; nothing if it is, or if none was named.

    That is no mistake where nothing is read from it, or where files are fetched into it.
    """
    if root is None or root.expanduser().is_dir():
        return ""
    return f"There is no folder `{root}`, which --data-root names: no file of a data set is found there."


def prepare(source: DataSource, root: Path, seed: int) -> Dataset:
    """Load `source` from `root`, check every split, and set the validation images aside."""
    dataset = attrs.evolve(source.load(root), augment=source.augment)
    splits = {
        "training": dataset.train,
        "test": dataset.test,
        "extra": dataset.extra,
        "validation": dataset.validation,
    }
    for name, images in splits.items():
        if images is not None:
            _check(images, dataset.info, f"The {name} images of `{dataset.info.name}`")
    return _with_validation(dataset, source.validation, seed) if source.validation else dataset


def _check(images: Images, info: DataInfo, what: str) -> None:
    if len(images) == 0:
        raise RequestError(f"{what} are none, but there must be at least one: check the files of the data set.")
    x = images.first(_FIRST).images
    check_pixels(x, what)
    if x.shape[1:] != info.shape:
        raise RequestError(
            f"{what} have the shape {tuple(x.shape[1:])}, but the data set announces {info.shape}: "
            f"mend `shape` in the data source."
        )
    _check_labels(images, info, what)


def _check_labels(images: Images, info: DataInfo, what: str) -> None:
    labels = images.labels
    if labels is None:
        return
    if len(labels) != len(images):
        raise RequestError(f"{what} are {len(images)} with {len(labels)} labels: give one label for each image.")
    if labels.dtype != torch.int64:
        raise RequestError(f"{what} have labels of {labels.dtype}, but a label is a class number: use labels.long().")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= len(info.classes):
        raise RequestError(
            f"{what} have labels from {low} to {high}, but the {len(info.classes)} classes are numbered "
            f"0 to {len(info.classes) - 1}: mend the labels, or list all classes."
        )


def _with_validation(dataset: Dataset, fraction: float, seed: int) -> Dataset:
    name = dataset.info.name
    if dataset.validation is not None:
        raise RequestError(f"`{name}` brings its own validation images: leave the option `validation` at 0.")
    labels = dataset.train.labels
    groups = torch.zeros(len(dataset.train), dtype=torch.int64) if labels is None else labels
    held = _stratified(groups, fraction, generator(seed, "validation"))
    if not held.any():
        raise RequestError(
            f"Validation of {fraction:g} was asked for, but that is no image of the {len(groups)} training images "
            f"of `{name}`: ask for a larger fraction."
        )
    return attrs.evolve(
        dataset,
        train=dataset.train.subset(torch.nonzero(~held).flatten()),
        validation=dataset.train.subset(torch.nonzero(held).flatten()),
    )


def _stratified(groups: Tensor, fraction: float, randomness: Generator) -> Tensor:
    """Mark `fraction` of the images, as nearly the same share of each group as whole images allow; (N,) bool."""
    held = torch.zeros(len(groups), dtype=torch.bool)
    for group, count in enumerate(_shares(torch.bincount(groups), fraction)):
        members = torch.nonzero(groups == group).flatten()
        held[members[torch.randperm(len(members), generator=randomness)[:count]]] = True
    return held


def _shares(counts: Tensor, fraction: float) -> list[int]:
    """Say how many of each group to take: rounded down, the missing ones from the groups cut the most."""
    quotas = counts.double() * fraction
    shares = quotas.floor().long()
    missing = round(float(quotas.sum())) - int(shares.sum())
    by_need = torch.argsort(quotas - shares, descending=True, stable=True).tolist()
    # A group must keep an image to train on.
    able = [group for group in by_need if shares[group] + 1 < counts[group]]
    shares[able[:missing]] += 1
    return [int(share) for share in shares]

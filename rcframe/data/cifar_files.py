"""The two on-disk forms of the CIFAR data sets: binary records, and pickled batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rcframe.data.files import damaged
from rcframe.data.unpickle import read_arrays

SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32


def read_binary(path: Path, label_bytes: int) -> tuple[Tensor, Tensor]:
    """Return uint8 images (N, 3, 32, 32) and labels (N,), the last of the `label_bytes` before each image."""
    content = np.fromfile(path, dtype=np.uint8)
    record = label_bytes + _PIXELS
    if len(content) == 0 or len(content) % record:
        raise damaged(
            path, f"its size is {len(content)} bytes, expected a multiple of {record}, one record for each image"
        )
    records = torch.from_numpy(content).view(-1, record)
    return records[:, label_bytes:].reshape(-1, *SHAPE), records[:, label_bytes - 1].long()


def read_pickled(path: Path, label_key: str) -> tuple[Tensor, Tensor]:
    """Return uint8 images (N, 3, 32, 32) and the labels (N,) kept under `label_key`."""
    content = read_arrays(path)
    if not isinstance(content, dict) or not {"data", label_key} <= content.keys():
        raise damaged(path, f"expected a dictionary with `data` and `{label_key}`")
    data, labels = content["data"], content[label_key]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _PIXELS:
        found = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise damaged(path, f"its `data` are {found}, expected uint8 (images, {_PIXELS})")
    if not isinstance(labels, list) or not all(isinstance(label, int) for label in labels):
        raise damaged(path, f"its `{label_key}` are not a list of whole numbers")
    if len(labels) != len(data):
        raise damaged(path, f"it holds {len(labels)} labels for {len(data)} images")
    return torch.from_numpy(data.copy()).view(-1, *SHAPE), torch.tensor(labels, dtype=torch.int64)

"""Hashes of what data sets consist of."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from rcframe.storage.digest import bytes_of

#: Rows hashed at a time, so that a tensor that does not lie in one piece is copied piece by piece.
_ROWS = 1024


def combined(*parts: str | int | float | None) -> str:
    """Return a hash of `parts` in their order."""
    # JSON keeps `1` and `"1"`, and `"ab", "c"` and `"a", "bc"`, apart.
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """Return a hash of the type, shape and values of a tensor of at least one dimension."""
    content = hashlib.sha256(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
    for rows in torch.split(tensor.detach(), _ROWS):
        content.update(bytes_of(rows))
    return content.hexdigest()


class LastingDigest:
    """The digest of a tensor that stays in memory: computed once, and again after the tensor was changed."""

    def __init__(self) -> None:
        self._tensor: Tensor | None = None
        self._version = 0
        self._digest = ""

    def of(self, tensor: Tensor) -> str:
        """Return the digest of `tensor`."""
        if tensor.is_inference():  # such tensors do not count how often they are changed
            return tensor_digest(tensor)
        if self._tensor is not tensor or self._version != tensor._version:
            self._tensor, self._version, self._digest = tensor, tensor._version, tensor_digest(tensor)
        return self._digest

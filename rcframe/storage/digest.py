"""Digests of tensors and of whole network states."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import Tensor


class Hash(Protocol):
    """The part of a hashlib object that is used here."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in bytes."""


def add_tensor(digest: Hash, tensor: Tensor) -> None:
    """Take in a tensor: its type, its shape and its bytes."""
    digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if plain.numel():
        # A single number counts as contiguous whatever its stride, but only one of stride 1 can be seen as bytes.
        digest.update(plain.as_strided((plain.numel(),), (1,)).view(torch.uint8).numpy().data)


def digest_of(tensors: Mapping[str, object] | Iterable[tuple[str, object]]) -> str:
    """Return the sha256 of named tensors in their order; what is no tensor counts by its `repr`."""
    digest = hashlib.sha256()
    for name, value in tensors.items() if isinstance(tensors, Mapping) else tensors:
        digest.update(name.encode() + b"\0")
        if isinstance(value, Tensor):
            add_tensor(digest, value)
        else:
            digest.update(repr(value).encode())
    return digest.hexdigest()

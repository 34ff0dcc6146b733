"""Digests of tensors."""

from __future__ import annotations

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
    digest.update(bytes_of(tensor))


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the numbers of a tensor as bytes, without a copy where they lie in one piece on the CPU."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    # A single number counts as contiguous whatever its stride, but only one of stride 1 can be seen as bytes.
    return plain.as_strided((plain.numel(),), (1,)).view(torch.uint8).numpy().data

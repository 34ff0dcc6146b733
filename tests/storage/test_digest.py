from __future__ import annotations

import hashlib

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.storage.digest import add_tensor


def digest(*tensors: Tensor) -> str:
    sha = hashlib.sha256()
    for tensor in tensors:
        add_tensor(sha, tensor)
    return sha.hexdigest()


def test_type_shape_and_bytes_are_what_counts() -> None:
    whole = b"torch.int16(2, 1)" + b"\x01\x00\xff\xff"
    assert digest(torch.tensor([[1], [-1]], dtype=torch.int16)) == hashlib.sha256(whole).hexdigest()


def test_a_single_number_and_an_empty_tensor_count() -> None:
    assert digest(torch.tensor(True)) == hashlib.sha256(b"torch.bool()\x01").hexdigest()
    assert digest(torch.zeros(0, 3)) == hashlib.sha256(b"torch.float32(0, 3)").hexdigest()


@given(st.integers(0, 8 * 24 - 1))
def test_any_changed_bit_changes_it(bit: int) -> None:
    numbers = torch.arange(12, dtype=torch.bfloat16).view(3, 4)
    changed = numbers.clone()
    changed.view(torch.uint8).view(-1)[bit // 8] ^= 1 << bit % 8
    assert digest(changed) != digest(numbers)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
        (torch.zeros(2, 3), torch.zeros(3, 2)),
        (torch.zeros(0), torch.zeros(0, 1)),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.tensor([1 + 1j]), torch.tensor([1 + 1j]).conj()),
    ],
    ids=str,
)
def test_tensors_that_differ_do_not_share_one(one: Tensor, other: Tensor) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize(
    "view",
    [
        torch.arange(6.0).view(2, 3).t(),
        torch.arange(6.0)[::2],
        torch.arange(6.0)[1::2][:1],
        torch.zeros(1).expand(4),
        torch.ones(2).requires_grad_(),
        torch.tensor([1 + 2j]).conj().imag,
    ],
    ids=str,
)
def test_how_numbers_lie_in_memory_does_not_matter(view: Tensor) -> None:
    assert digest(view) == digest(torch.tensor(view.tolist()))

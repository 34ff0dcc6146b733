from __future__ import annotations

import hashlib
from itertools import combinations

import pytest
import torch
from hypothesis import given, strategies as st

from rcframe.data import digests
from rcframe.data.digests import LastingDigest, combined, tensor_digest


def test_a_tensor_is_hashed_as_type_shape_and_bytes() -> None:
    small = torch.tensor([[1, 2], [3, 255]], dtype=torch.uint8)
    assert tensor_digest(small) == hashlib.sha256(b"torch.uint8 (2, 2)" + bytes([1, 2, 3, 255])).hexdigest()
    # One float of 1.0 is 3f800000, the lowest byte first.
    assert tensor_digest(torch.ones(1)) == hashlib.sha256(b"torch.float32 (1,)" + b"\0\0\x80\x3f").hexdigest()


def test_type_shape_and_every_value_count() -> None:
    zeros = torch.zeros(4, dtype=torch.int32)
    other = [zeros, zeros.float(), zeros.view(2, 2), zeros.view(4, 1), torch.zeros(3, dtype=torch.int32), zeros[:0]]
    other += [torch.eye(4, dtype=torch.int32)[row] for row in range(4)]
    assert all(tensor_digest(one) != tensor_digest(two) for one, two in combinations(other, 2))


@pytest.mark.parametrize("kind", [torch.bool, torch.bfloat16, torch.float64, torch.int64])
def test_every_type_can_be_hashed(kind: torch.dtype) -> None:
    assert tensor_digest(torch.ones(2, 3).to(kind)) != tensor_digest(torch.zeros(2, 3).to(kind))


@given(st.integers(0, 9), st.integers(1, 4))
def test_neither_the_layout_in_memory_nor_the_pieces_matter(rows: int, columns: int) -> None:
    tensor = torch.arange(rows * columns).view(rows, columns)
    whole = tensor_digest(tensor)
    assert tensor_digest(tensor.t().contiguous().t()) == whole
    assert tensor_digest(tensor.repeat_interleave(2, dim=1)[:, ::2]) == whole
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digests, "_ROWS", 2)
        assert tensor_digest(tensor) == whole


def test_parts_that_read_alike_are_told_apart() -> None:
    parts: list[tuple[str | int | float | None, ...]] = [(), ("",), (None,), ("1",), (1,), ("ab", "c"), ("a", "bc")]
    assert len({combined(*part) for part in parts}) == len(parts)


def test_a_lasting_digest_follows_changes_in_place() -> None:
    tensor, lasting = torch.zeros(3), LastingDigest()
    assert lasting.of(tensor) == tensor_digest(torch.zeros(3))
    tensor[1] = 1
    assert lasting.of(tensor) == tensor_digest(torch.tensor([0.0, 1, 0]))
    tensor[1:].mul_(5)
    assert lasting.of(tensor) == tensor_digest(torch.tensor([0.0, 5, 0]))
    assert lasting.of(torch.ones(3)) == tensor_digest(torch.ones(3))


def test_a_lasting_digest_follows_tensors_that_do_not_count_their_changes() -> None:
    lasting = LastingDigest()
    with torch.inference_mode():
        tensor = torch.zeros(3)
        assert lasting.of(tensor) == tensor_digest(torch.zeros(3))
        tensor[1] = 1
    assert lasting.of(tensor) == tensor_digest(torch.tensor([0.0, 1, 0]))


def test_a_lasting_digest_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.Tensor] = []

    def counting(tensor: torch.Tensor) -> str:
        asked.append(tensor)
        return "digest"

    monkeypatch.setattr(digests, "tensor_digest", counting)
    tensor, lasting = torch.zeros(3), LastingDigest()
    assert [lasting.of(tensor), lasting.of(tensor)] == ["digest"] * 2
    assert len(asked) == 1

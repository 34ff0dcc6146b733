from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rcframe.errors import RunFailed
from rcframe.storage.tree import flatten, unflatten


def through_json(state: object) -> object:
    """Take a tree apart, write and read the plain half as a file would, and build it again."""
    plain, tensors = flatten(state)
    return unflatten(json.loads(json.dumps(plain)), tensors)


@pytest.mark.parametrize(
    "state",
    [
        None,
        True,
        -7,
        2**200,
        0.1 + 0.2,
        float("inf"),
        "größer\0",
        [],
        (),
        {},
        [1, (2, [3, ()])],
        {"tensor": 1, "dict": {"tuple": (1,)}},
        {1: "one", (1, None): "pair", False: "no", "x": None, None: 0, 0.5: "half"},
        Counter({30: 1, 80: 2}),
        Counter(),
    ],
    ids=repr,
)
def test_plain_values_and_containers_come_back_as_they_were(state: object) -> None:
    again = through_json(state)
    assert again == state
    assert type(again) is type(state)


def test_a_bool_is_not_mistaken_for_a_number_nor_a_tuple_for_a_list() -> None:
    again = through_json([True, 1, 1.0, (1,), [1], -0.0])
    assert repr(again) == "[True, 1, 1.0, (1,), [1], -0.0]"


def test_not_a_number_comes_back() -> None:
    assert repr(through_json([float("nan"), float("-inf")])) == "[nan, -inf]"


def test_order_of_a_dict_is_kept() -> None:
    again = through_json({"b": 1, "a": 2, "c": 3})
    assert isinstance(again, dict)
    assert list(again) == ["b", "a", "c"]


def test_kinds_of_dicts_that_differ_in_convenience_only_become_dicts() -> None:
    again = through_json([OrderedDict(a=1), defaultdict(int, b=2)])
    assert repr(again) == "[{'a': 1}, {'b': 2}]"


def test_numbers_of_numpy_become_plain_ones() -> None:
    again = through_json({np.int64(3): [np.float32(0.5), np.bool_(True), np.uint64(2**64 - 1)]})
    assert repr(again) == "{3: [0.5, True, 18446744073709551615]}"


def test_arrays_come_back_as_arrays_of_their_shape_and_type() -> None:
    arrays = [
        np.array(3.0),
        np.zeros((0, 3)),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        np.arange(10, dtype=np.uint32)[::-2],
        np.array([1 + 2j]),
        np.broadcast_to(np.array([True, False]), (2, 2)),
    ]
    again = through_json(arrays)
    assert isinstance(again, list)
    for one, other in zip(again, arrays, strict=True):
        assert isinstance(one, np.ndarray)
        assert (one.dtype, one.shape, one.tolist()) == (other.dtype, other.shape, other.tolist())


def test_a_tensor_that_occurs_often_is_stored_once_and_stays_one() -> None:
    layer = nn.Linear(2, 2)
    plain, tensors = flatten({"target": layer.state_dict(), "module": layer.state_dict()})
    assert len(tensors) == 2
    again = unflatten(plain, tensors)
    assert isinstance(again, dict)
    assert again["target"]["weight"] is again["module"]["weight"]


def test_views_of_one_storage_are_told_apart() -> None:
    whole = torch.arange(6.0)
    views = [whole, whole[:3], whole[3:], whole[::2], whole.view(2, 3), whole.view(2, 3).t(), whole.view(torch.int32)]
    plain, tensors = flatten(views)
    assert len(tensors) == len(views)
    again = unflatten(plain, tensors)
    assert isinstance(again, list)
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in zip(again, views, strict=True))


def test_empty_tensors_are_not_mistaken_for_each_other() -> None:
    again = through_json([torch.zeros(0), torch.zeros(0, 3), torch.zeros(0, dtype=torch.bool)])
    assert isinstance(again, list)
    kinds = [(tensor.shape, tensor.dtype) for tensor in again]
    assert kinds == [((0,), torch.float32), ((0, 3), torch.float32), ((0,), torch.bool)]


def test_empty_tensors_are_never_taken_for_one() -> None:
    """They have no address; and their strides, which differ here, do not come back from a file."""
    empty = torch.zeros(1, 0, 0)
    for state in ([empty, empty.mT], [empty, empty]):
        plain, tensors = flatten(state)
        again = unflatten(plain, [tensor.contiguous() for tensor in tensors])
        assert flatten(again)[0] == plain
        assert len(tensors) == 2


def test_a_conjugated_view_is_not_mistaken_for_what_it_views() -> None:
    number = torch.tensor([1 + 2j], dtype=torch.complex128)
    again = through_json([number, number.conj(), number.conj().imag])
    assert isinstance(again, list)
    assert [tensor.tolist() for tensor in again] == [[1 + 2j], [1 - 2j], [-2.0]]
    assert [tensor.dtype for tensor in again] == [torch.complex128, torch.complex128, torch.float64]


def test_gradients_do_not_come_along() -> None:
    again = through_json(nn.Parameter(torch.ones(2)))
    assert isinstance(again, Tensor)
    assert not again.requires_grad


@pytest.mark.parametrize(
    ("state", "place"),
    [
        (object(), "The state is a object,"),
        ({"optimizer": [0, {1}]}, r"The state\['optimizer'\]\[1\] is a set,"),
        ({"players": {"eye": {3: (b"x",)}}}, r"The state\['players'\]\['eye'\]\[3\]\[0\] is a bytes,"),
        ([1j], r"The state\[0\] is a complex,"),
        ({(1, b"x"): 1}, r"The key \(1, b'x'\) of the state\[1\] is a bytes,"),
        ([torch.eye(2).to_sparse()], r"The state\[0\] is a tensor of layout torch.sparse_coo on cpu,"),
        ({"a": torch.empty(2, device="meta")}, r"The state\['a'\] is a tensor of layout torch.strided on meta,"),
        ([torch.empty(2, dtype=torch.bits8)], r"The state\[0\] is a tensor of torch.bits8,"),
        ({"a": np.array(["x"])}, r"The state\['a'\] is an array of <U1,"),
        ({"a": np.array([{}])}, r"The state\['a'\] is an array of object,"),
        ([np.arange(3, dtype=">i4")], r"The state\[0\] is an array of >i4,"),
    ],
)
def test_what_cannot_be_kept_is_named_by_its_place(state: object, place: str) -> None:
    with pytest.raises(RunFailed, match=f"(?i)^{place} which cannot be kept in a file. State may hold"):
        flatten(state)


def test_an_unknown_mark_is_not_passed_over() -> None:
    with pytest.raises(ValueError, match="unknown mark 'set'"):
        unflatten({"set": []}, [])

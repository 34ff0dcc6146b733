"""State as trees: nested containers of tensors and plain values, split into JSON and a list of tensors and back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from rcframe.errors import RunFailed

#: What marks each kind of node that JSON does not have; every object in the JSON has exactly one of these keys.
_TENSOR, _COMPLEX, _ARRAY = "tensor", "complex", "array"
_TUPLE, _DICT, _PAIRS, _COUNTER = "tuple", "dict", "pairs", "counter"
#: What the file format has a place for; complex numbers are kept as pairs of real ones.
_NUMBERS = {
    torch.bool,
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float16, torch.bfloat16, torch.float32, torch.float64),
}


def flatten(state: object) -> tuple[object, list[Tensor]]:
    """Return a tree as what JSON can hold, and its tensors, each once however often it occurs."""
    tensors: list[Tensor] = []
    places: dict[tuple[object, ...], int] = {}

    def place(tensor: Tensor) -> int:
        same = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        # Empty tensors have no address that would tell whether they are one.
        if same not in places or not tensor.numel():
            places[same] = len(tensors)
            tensors.append(tensor)
        return places[same]

    return _plain(state, place, "state"), tensors


def _plain(node: object, place: Callable[[Tensor], int], where: str) -> object:
    """Return one node as JSON; `where` names it should it not be possible."""
    if isinstance(node, np.generic):
        node = node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return node
    if isinstance(node, Tensor):
        return _plain_tensor(node, place, where)
    if isinstance(node, np.ndarray):
        return {_ARRAY: _plain_tensor(_from_array(node, where), place, where)}
    if isinstance(node, list | tuple):
        items = [_plain(item, place, f"{where}[{index}]") for index, item in enumerate(node)]
        return {_TUPLE: items} if isinstance(node, tuple) else items
    if isinstance(node, Mapping):
        return _plain_mapping(node, place, where)
    raise _not_kept(where, f"a {type(node).__name__}")


def _plain_tensor(tensor: Tensor, place: Callable[[Tensor], int], where: str) -> object:
    if tensor.layout is not torch.strided or tensor.is_meta:
        raise _not_kept(where, f"a tensor of layout {tensor.layout} on {tensor.device}")
    # Views that are conjugated or negated on reading have the address of what they view.
    tensor = tensor.detach().resolve_conj().resolve_neg()
    if tensor.is_complex():
        return {_COMPLEX: place(torch.view_as_real(tensor))}
    if tensor.dtype not in _NUMBERS:
        raise _not_kept(where, f"a tensor of {tensor.dtype}")
    return {_TENSOR: place(tensor)}


def _from_array(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], where: str) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C"))
    except (TypeError, ValueError) as error:
        raise _not_kept(where, f"an array of {array.dtype}") from error


def _not_kept(where: str, what: str) -> RunFailed:
    return RunFailed(
        f"The {where} is {what}, which cannot be kept in a file. State may hold dense tensors, arrays of numbers, "
        f"numbers, text, None, and lists, tuples and dicts of them."
    )


def _plain_mapping(node: Mapping[object, object], place: Callable[[Tensor], int], where: str) -> object:
    values = {key: _plain(value, place, f"{where}[{key!r}]") for key, value in node.items()}
    if all(isinstance(key, str) for key in values) and not isinstance(node, Counter):
        return {_DICT: values}
    pairs = [[_plain(key, place, f"key {key!r} of the {where}"), value] for key, value in values.items()]
    return {_COUNTER if isinstance(node, Counter) else _PAIRS: pairs}


def unflatten(plain: object, tensors: list[Tensor]) -> object:
    """Build the tree again from what `flatten` returned."""
    if isinstance(plain, list):
        return [unflatten(item, tensors) for item in plain]
    if not isinstance(plain, dict):
        return plain
    ((mark, content),) = plain.items()
    if mark == _TENSOR:
        return tensors[content]
    if mark == _COMPLEX:
        return torch.view_as_complex(tensors[content])
    if mark == _ARRAY:
        return cast(Tensor, unflatten(content, tensors)).numpy()
    if mark == _TUPLE:
        return tuple(unflatten(item, tensors) for item in content)
    if mark == _DICT:
        return {key: unflatten(value, tensors) for key, value in content.items()}
    if mark not in (_PAIRS, _COUNTER):
        raise ValueError(f"unknown mark {mark!r}")
    pairs = {unflatten(key, tensors): unflatten(value, tensors) for key, value in content}
    return Counter(cast("dict[object, int]", pairs)) if mark == _COUNTER else pairs

"""Weights files: safetensors with a description of the network; foreign files are read without running their code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

import attrs
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from rcframe.errors import RequestError, listed
from rcframe.networks.foreign import SUFFIXES, damaged, read_foreign, with_parallel, without_parallel
from rcframe.networks.normalize import Normalized
from rcframe.storage.tensors import write_tensors

_FORMAT = 1
_METADATA = "rcframe"
#: What other programs write beside tensors, and expect to find.
_PLAIN = {"format": "pt"}


@attrs.frozen
class Architecture:
    """What is needed to build a saved network again, besides its weights."""

    #: Spec string of the model, and of the neurons if it spikes.
    model: str
    neuron: str | None
    shape: tuple[int, int, int]
    classes: int


def save_network(path: Path, module: nn.Module, architecture: Architecture) -> None:
    """Write the weights of a network with its architecture."""
    described = json.dumps({"format": _FORMAT, **attrs.asdict(architecture)})
    write_tensors(path, module.state_dict(), {_METADATA: described})


def save_plain(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write weights without an architecture; kinds of tensors that safetensors has no place for are refused."""
    try:
        write_tensors(path, tensors, _PLAIN)
    # Sparse, quantised and other special tensors each fail in a way of their own.
    except (RuntimeError, KeyError, ValueError, NotImplementedError) as error:
        kinds = listed(sorted({f"{tensor.dtype} ({tensor.layout})" for tensor in tensors.values()}))
        raise RequestError(
            f"The tensors cannot be written to `{path}` ({error}): they are {kinds}. Make them ordinary dense ones "
            f"where they come from."
        ) from error


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file, or of a `.pt` file without unpickling anything but tensors."""
    if path.suffix.lower() in SUFFIXES:
        return dict(read_foreign(path).tensors)
    if not path.is_file():
        raise RequestError(f"There is no weights file `{path}`.")
    described = _metadata(path).get(_METADATA)
    if described is not None:
        _check_format(path, _parsed(path, described))
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error


def _metadata(path: Path) -> Mapping[str, str]:
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load tensors into a network of exactly their shapes.

    A file saved from a network without our normalisation layer fits the network inside it, and names may have the
    prefix of DataParallel or lack it.
    """
    inside, tensors = _matched(network, tensors)
    wanted = inside.state_dict()
    missing, surplus = [n for n in wanted if n not in tensors], [n for n in tensors if n not in wanted]
    if missing or surplus:
        raise RequestError(
            f"`{source}` does not fit the model: missing {listed(missing[:3])}; not in the model {listed(surplus[:3])} "
            f"({len(tensors)} tensors found, {len(wanted)} expected). Choose the model it was saved from with --model."
        )
    for name, tensor in wanted.items():
        if tensors[name].shape != tensor.shape:
            raise RequestError(
                f"`{source}` does not fit the model: `{name}` is {tuple(tensors[name].shape)}, but the model needs "
                f"{tuple(tensor.shape)}. Choose the model and data it was saved from with --model and --data."
            )
        if tensor.is_floating_point() and not tensors[name].is_floating_point():
            raise RequestError(
                f"`{source}` does not fit the model: `{name}` is {tensors[name].dtype}, but the model needs "
                f"{tensor.dtype}. Save its weights as floating-point numbers."
            )
    inside.load_state_dict(dict(tensors))


def _matched(network: nn.Module, tensors: Mapping[str, Tensor]) -> tuple[nn.Module, Mapping[str, Tensor]]:
    """Return the part of a network that has the names of the tensors, with these as the part writes them."""
    parts = (network, network.net) if isinstance(network, Normalized) else (network,)
    for part in parts:
        for named in (tensors, without_parallel(tensors), with_parallel(tensors)):
            if named.keys() == part.state_dict().keys():
                return part, named
    # None fits; the closer part gives the better message.
    return (network if any(name.startswith("net.") for name in tensors) else parts[-1]), tensors


def read_architecture(path: Path) -> Architecture:
    """Read the description of a saved network."""
    described = _metadata(path).get(_METADATA)
    if described is None:
        raise RequestError(f"`{path}` was not written by rcframe: use it as `file:{path}` with its --model.")
    return _architecture(path, _parsed(path, described))


def _parsed(path: Path, described: str) -> Mapping[str, object]:
    try:
        parsed: object = json.loads(described)
    except (ValueError, RecursionError) as error:
        raise _malformed(path, "is not JSON") from error
    if not isinstance(parsed, dict):
        raise _malformed(path, f"is a {type(parsed).__name__}")
    return parsed


def _check_format(path: Path, described: Mapping[str, object]) -> None:
    number = described.get("format")
    if not _is_count(number):
        raise _malformed(path, f"has {number!r} as its `format`")
    if number > _FORMAT:
        raise RequestError(
            f"`{path}` has format {number}, but this rcframe reads formats up to {_FORMAT}: it was written by a newer "
            f"rcframe: upgrade to read it."
        )


def _architecture(path: Path, described: Mapping[str, object]) -> Architecture:
    _check_format(path, described)
    model, neuron, shape, classes = (described.get(name) for name in ("model", "neuron", "shape", "classes"))
    if not isinstance(model, str):
        raise _malformed(path, f"has {model!r} as its `model`")
    if not isinstance(neuron, str | None):
        raise _malformed(path, f"has {neuron!r} as its `neuron`")
    if not isinstance(shape, list) or len(shape) != 3 or not all(map(_is_count, shape)):
        raise _malformed(path, f"has {shape!r} as its `shape`")
    if not _is_count(classes):
        raise _malformed(path, f"has {classes!r} as its `classes`")
    return Architecture(model, neuron, (shape[0], shape[1], shape[2]), classes)


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _malformed(path: Path, what: str) -> RequestError:
    return RequestError(f"`{path}` is damaged: the description of its network {what}. Replace the file.")

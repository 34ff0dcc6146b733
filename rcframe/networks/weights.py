"""Weights files: safetensors with a description of the network; foreign files are read without running their code."""

from __future__ import annotations

import json
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import attrs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rcframe.errors import RequestError, listed
from rcframe.files import replacing
from rcframe.networks.normalize import Normalized

_FORMAT = 1
_METADATA = "rcframe"


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
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
    metadata = {_METADATA: json.dumps({"format": _FORMAT, **attrs.asdict(architecture)})}
    with replacing(path) as temporary:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, temporary, metadata=metadata)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file, or of a `.pt` file without unpickling anything but tensors."""
    if not path.is_file():
        raise RequestError(f"There is no weights file `{path}`.")
    if path.suffix in (".pt", ".pth"):
        return _tensors_of(_unpickled(path), path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _unpickled(path: Path) -> object:
    try:
        with warnings.catch_warnings(action="ignore"):  # of pickles that torch did not write
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        raise RequestError(
            f"`{path}` wants to run code{f' (`{wanted[1]}`)' if wanted else ''} when it is read, so it was refused. "
            f"Save its state_dict, or convert it to safetensors."
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> RequestError:
    return RequestError(f"`{path}` is damaged or no weights file: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _tensors_of(loaded: object, path: Path) -> dict[str, Tensor]:
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise RequestError(
            f"`{path}` holds no state_dict: save the weights with `torch.save(model.state_dict(), ...)`."
        )
    return {str(name): value for name, value in loaded.items()}


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load tensors into a network of exactly their shapes.

    A file saved from a network without our normalisation layer fits the network inside it.
    """
    inside: nn.Module = network
    if isinstance(network, Normalized) and not any(name.startswith("net.") for name in tensors):
        inside = network.net
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
    inside.load_state_dict(dict(tensors))


def read_architecture(path: Path) -> Architecture:
    """Read the description of a saved network."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise RequestError(f"`{path}` is damaged: {_first_line(error)}") from error
    if _METADATA not in metadata:
        raise RequestError(f"`{path}` was not written by rcframe: use it as `file:{path}` with its --model.")
    described = json.loads(metadata[_METADATA])
    if described.pop("format") > _FORMAT:
        raise RequestError(f"`{path}` was written by a newer rcframe: upgrade to read it.")
    return Architecture(**{**described, "shape": tuple(described["shape"])})

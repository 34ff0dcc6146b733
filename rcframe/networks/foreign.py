"""Weights files of other programs: pickles, read without running what is in them unless the user vouches for that."""

from __future__ import annotations

import io
import re
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from pickle import Unpickler, UnpicklingError

import attrs
import torch
from torch import Tensor, nn

from rcframe.errors import RequestError, listed
from rcframe.networks.pickled import is_plain_pickle, wanted_by

#: How the names of pickled weights end.
SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".tar")
#: Where checkpoints keep the weights, the preferred first.
_ENTRIES = ("state_dict", "model_state_dict", "model", "net", "ema")
#: What DataParallel puts before every name.
_PARALLEL = "module."


@attrs.frozen
class ForeignWeights:
    """The tensors of a file, and which of its entries held them; None if the whole file is them."""

    tensors: Mapping[str, Tensor]
    entry: str | None = None


def read_foreign(path: Path, trusted: bool = False) -> ForeignWeights:
    """Read the weights in a pickle: a state_dict, a checkpoint with one inside, or a whole module if `trusted`.

    Reading a trusted file runs whatever code it asks for; of any other, nothing but tensors is unpickled.
    """
    if not path.is_file():
        raise RequestError(f"There is no weights file `{path}`.")
    with warnings.catch_warnings(action="ignore"):  # of old pickles and those that torch did not write
        return _weights_in(_trustingly(path) if trusted else _tensors_only(path), path)


def damaged(path: Path, error: BaseException) -> RequestError:
    """Say that a weights file cannot be read."""
    return RequestError(f"`{path}` is damaged or no weights file: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def without_parallel(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Drop the prefix of DataParallel if every name has it."""
    if not all(name.startswith(_PARALLEL) for name in tensors):
        return tensors
    return {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}


def with_parallel(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Put the prefix of DataParallel before every name."""
    return {_PARALLEL + name: tensor for name, tensor in tensors.items()}


# -- reading ----------------------------------------------------------------------------------------------------------


def _tensors_only(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise _refused(path, named[1] if named else _wanted(path)) from error
    except Exception as error:  # a damaged pickle can fail in any way
        if "TorchScript" in str(error):
            raise _refused(path, "TorchScript") from error
        raise damaged(path, error) from error


def _wanted(path: Path) -> str | None:
    """Name what torch, which does not read every form of pickle, could not name."""
    try:
        return wanted_by(path)
    except Exception as error:
        raise damaged(path, error) from error


def _refused(path: Path, wanted: str | None) -> RequestError:
    if wanted is None:
        why = "is pickled in a form that cannot be read without running what is in it"
    else:
        why = f"wants to run code (`{wanted}`) when it is read"
    return RequestError(
        f"`{path}` {why}, so it was refused. Save its state_dict, or, if you trust whoever made it, let it run once "
        f"and keep the weights: `rcframe import-weights --trust {shlex.quote(str(path))}`. It may then do anything "
        f"that you may do on this machine."
    )


def _trustingly(path: Path) -> object:
    try:
        if not is_plain_pickle(path):
            return torch.load(path, map_location="cpu", weights_only=False)
        with path.open("rb") as file:
            return _OnProcessor(file).load()
    except ModuleNotFoundError as error:
        raise RequestError(
            f"`{path}` needs the module `{error.name}`, which cannot be imported: run rcframe in the folder that has "
            f"it, or install the package it belongs to."
        ) from error
    except AttributeError as error:
        raise RequestError(
            f"`{path}` was saved with code that is not the same here ({error}). Where it was saved, save the "
            f"weights alone: `torch.save(model.state_dict(), ...)`."
        ) from error
    # Code of others fails in any way, and may well end the process.
    except (Exception, SystemExit) as error:
        raise RequestError(f"`{path}` cannot be unpickled: {type(error).__name__}: {_first_line(error)}") from error


class _OnProcessor(Unpickler):
    """Unpickles tensors onto the CPU, wherever they were."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _load_from_bytes
        return super().find_class(module, name)


def _load_from_bytes(content: bytes) -> object:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)


# -- finding the weights in what was read -----------------------------------------------------------------------------


def _weights_in(loaded: object, path: Path) -> ForeignWeights:
    tensors = _tensors_of(loaded)
    if tensors:
        return ForeignWeights(tensors)
    if not isinstance(loaded, dict):
        raise _no_weights(path, f"it is a `{type(loaded).__name__}`")
    for entry in _ENTRIES:
        if tensors := _tensors_of(loaded.get(entry)):
            return ForeignWeights(tensors, entry)
    raise _no_weights(path, f"its entries are {listed(f'`{name}`' for name in list(loaded)[:8])}")


def _tensors_of(value: object) -> dict[str, Tensor] | None:
    """Return the tensors if the value is a state_dict, or a module that has one."""
    state = value.state_dict() if isinstance(value, nn.Module) else value
    if not isinstance(state, dict) or not all(isinstance(item, Tensor) for item in state.values()):
        return None
    return {str(name): tensor.detach() for name, tensor in state.items()}


def _no_weights(path: Path, found: str) -> RequestError:
    return RequestError(
        f"`{path}` holds no state_dict ({found}): save the weights with `torch.save(model.state_dict(), ...)`."
    )

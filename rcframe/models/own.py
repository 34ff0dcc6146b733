"""A network of the user's own, made by a function that is named as `package.module:function`."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import nn

from rcframe.api import Model
from rcframe.errors import RequestError, nearest
from rcframe.networks.normalize import Normalized
from rcframe.options import component, option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    from rcframe.data.images import DataInfo


@component
class OwnModel(Model):
    """What a function of the user's own returns.

    The function is called with those of `classes` (their number), `shape` (channels, height, width) and `info` that
    it has parameters for.
    """

    function: str = option(default="", help="Where the function is, as package.module:function.", positional=True)
    normalize: bool = option(
        default=False, help="Put the normalisation with the data's mean and deviation in front of the network."
    )

    def build(self, info: DataInfo) -> nn.Module:
        """Return the user's network for a data set."""
        with importable_here():
            network = _call(_find(self.function), self.function, info)
        return Normalized(network, info.mean, info.std) if self.normalize else network


@contextmanager
def importable_here() -> Iterator[None]:
    """Let modules be imported from the current directory for a while."""
    here = os.getcwd()
    sys.path.insert(0, here)
    # A file that was written a moment ago may not be in the finder's listing yet.
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _find(where: str) -> Callable[..., object]:
    module_name, _, name = where.partition(":")
    if not (module_name and name):
        raise RequestError(
            f"`{where}` does not say where your model function is: write package.module:function, as in `nets:small`."
        )
    module = _import(module_name, where)
    if not hasattr(module, name):
        raise RequestError(
            f"Module `{module_name}` ({module.__file__}) has no `{name}`, asked for as the model `{where}`."
            f"{nearest(name, vars(module))}"
        )
    function: object = getattr(module, name)
    if isinstance(function, nn.Module) or not callable(function):
        raise RequestError(
            f"`{where}` is a `{type(function).__name__}`, but a model is named by a function (or class) that returns "
            f"a new network each time: write a function around it."
        )
    return function


def _import(module: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _import_failed(module, where, error) from error
        raise RequestError(
            f"No module `{error.name}` was found for the model `{where}`: run rcframe in the folder that has it, or "
            f"install the package it belongs to."
        ) from None
    # A script that was not meant to be imported may well end the process.
    except (Exception, SystemExit) as error:
        raise _import_failed(module, where, error) from error


def _import_failed(module: str, where: str, error: BaseException) -> RequestError:
    return RequestError(
        f"Importing `{module}` for the model `{where}` failed with {type(error).__name__}: {error}. "
        f"Make `import {module}` work in Python first."
    )


def _call(function: Callable[..., object], where: str, info: DataInfo) -> nn.Module:
    offered = {"classes": len(info.classes), "shape": info.shape, "info": info}
    known = _parameters(function)
    arguments = {name: value for name, value in offered.items() if name in known}
    try:
        network = function(**arguments)
    except Exception as error:
        raise RequestError(
            f"Calling the model function `{where}` with {', '.join(f'`{name}`' for name in arguments) or 'nothing'} "
            f"failed with {type(error).__name__}: {error}. It may take `classes`, `shape` and `info` by name; every "
            f"other parameter needs a default."
        ) from error
    if not isinstance(network, nn.Module):
        raise RequestError(
            f"The model function `{where}` returned a `{type(network).__name__}`, but it must return a torch.nn.Module."
        )
    return network


def _parameters(function: Callable[..., object]) -> set[str]:
    """Name the parameters that can be given by name."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        parameters = inspect.signature(function).parameters
    except ValueError:
        # Functions written in C need not have a signature.
        return set()
    return {name for name, parameter in parameters.items() if parameter.kind in by_name}

"""Networks of torchvision and timm by name, always with random initial weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from torch import nn

from rcframe.api import Model
from rcframe.errors import RequestError, nearest
from rcframe.networks.normalize import Normalized
from rcframe.options import component, option

if TYPE_CHECKING:
    from types import ModuleType

    from rcframe.data.images import DataInfo

#: These return more than logits while they train, unless told not to.
_AUXILIARY = ("googlenet", "inception_v3")


@component
class TorchvisionModel(Model):
    """A classification network of torchvision, freshly initialised."""

    network: str = option(default="resnet18", help="The name torchvision knows it by.", positional=True, lookup=True)

    def build(self, info: DataInfo) -> nn.Module:
        """Return the network with as many outputs as the data set has classes, and its normalisation."""
        library = _library("torchvision.models", "pip install torchvision")
        _check_known(self.network, library.list_models(module=library), "torchvision")
        if info.shape[0] != 3:
            raise RequestError(
                f"The networks of torchvision read 3 channels, but the images of `{info.name}` have "
                f"{info.shape[0]}: choose another model, such as `resnet18`, which takes any number."
            )
        plain = {"aux_logits": False, "init_weights": True} if self.network in _AUXILIARY else {}
        return _built(library.get_model(self.network, weights=None, num_classes=len(info.classes), **plain), info)


@component
class TimmModel(Model):
    """A network of timm, freshly initialised, for any number of channels."""

    network: str = option(default="resnet18", help="The name timm knows it by.", positional=True, lookup=True)

    def build(self, info: DataInfo) -> nn.Module:
        """Return the network with as many outputs as the data set has classes, and its normalisation."""
        library = _library("timm", 'pip install "rcframe[timm]"')
        _check_known(self.network, library.list_models(), "timm")
        network = library.create_model(
            self.network, pretrained=False, num_classes=len(info.classes), in_chans=info.shape[0]
        )
        return _built(network, info)


def _library(module: str, command: str) -> ModuleType:
    """Import an optional library, whose functions are as good as untyped."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise RequestError(f"Models of {name} need {name}, which cannot be imported ({error}): {command}") from None


def _check_known(name: str, known: list[str], library: str) -> None:
    if name not in known:
        raise RequestError(
            f"{library} has no model `{name}`.{nearest(name, known)} It has {len(known)}, listed in its documentation."
        )


def _built(network: object, info: DataInfo) -> nn.Module:
    assert isinstance(network, nn.Module)
    return Normalized(network, info.mean, info.std)

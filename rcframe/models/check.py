"""The check that a network fits a data set, made before anything is trained."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rcframe.errors import RequestError
from rcframe.networks.modes import evaluating

if TYPE_CHECKING:
    from rcframe.data.images import DataInfo

#: Sums of probabilities are 1 but for this.
_ROUNDING = 1e-4


def check_outputs(module: nn.Module, info: DataInfo) -> None:
    """Refuse a network that does not turn one image of the data set into one logit per class.

    Runs a black image through `module` in evaluation mode and leaves the module as it was.
    """
    found = _outputs(module, info)
    wanted = len(info.classes)
    if not isinstance(found, Tensor):
        raise RequestError(
            f"The model returns a `{type(found).__name__}`, but it must return one tensor of logits (B, {wanted}): "
            f"wrap it in a module that picks them out."
        )
    if found.dim() != 2 or len(found) != 1:
        raise RequestError(
            f"The model turns one image of `{info.name}` into a tensor of shape {tuple(found.shape)}, but logits "
            f"(1, {wanted}) are needed: let it end in a layer that gives {wanted} numbers per image."
        )
    if found.shape[1] != wanted:
        raise RequestError(
            f"The model has {found.shape[1]} outputs but data set `{info.name}` has {wanted} classes: give its last "
            f"layer {wanted} outputs, or choose other data."
        )
    check_logits(found)


def check_logits(outputs: Tensor) -> None:
    """Refuse outputs (B, classes) that are probabilities: attacks and losses need logits."""
    found = outputs.detach()
    if found.dim() != 2 or not len(found) or not found.is_floating_point():
        return
    if bool((found >= 0).all()) and bool(((found.sum(dim=1) - 1).abs() < _ROUNDING).all()):
        raise RequestError(
            "The model returns probabilities: its outputs are 0 or more and sum to 1 for every image. Logits are "
            "needed, since attacks and losses take the softmax themselves: remove its last softmax."
        )


def _outputs(module: nn.Module, info: DataInfo) -> object:
    like = next(itertools.chain(module.parameters(), module.buffers()), None)
    image = torch.zeros(1, *info.shape, device=None if like is None else like.device)
    try:
        with evaluating(module), torch.no_grad():
            outputs: object = module(image)
    except Exception as error:
        raise RequestError(
            f"The model cannot read the images of `{info.name}` (channels, height, width: {info.shape}). Its forward "
            f"pass failed with {type(error).__name__}: {error}. Choose a model for such images, or other data."
        ) from error
    return outputs

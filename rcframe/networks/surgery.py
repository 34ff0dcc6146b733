"""Structural removal: smaller layers from larger ones."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

import attrs
from torch import Tensor, nn

from rcframe.networks.size import Size, size_of

_Layer = TypeVar("_Layer", bound=nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d)
#: Layers whose size can change.
RESIZABLE = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)


@attrs.frozen
class PruningReport:
    """What a pruner removed: enough to rebuild the small network from the large one."""

    #: Indices of the output channels or units that were kept, by layer, in their original order.
    kept: Mapping[str, tuple[int, ...]]
    before: Size
    after: Size

    @classmethod
    def of(cls, before: nn.Module, after: nn.Module, kept: Mapping[str, tuple[int, ...]]) -> PruningReport:
        """Describe the pruning of `before` to `after`."""
        return cls(dict(kept), size_of(before), size_of(after))


def select(layer: _Layer, out_keep: Tensor | None, in_keep: Tensor | None) -> _Layer:
    """Return a copy of `layer` with only the given output and input indices (None keeps all).

    Batch norm has one index, its channels: `out_keep`.
    """
    small = copy.deepcopy(layer)
    for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
        kept = tensor.detach()
        if out_keep is not None and kept.dim() > 0:
            kept = kept.index_select(0, out_keep.to(kept.device))
        if in_keep is not None and kept.dim() > 1:
            kept = kept.index_select(1, in_keep.to(kept.device))
        _replace(small, name, kept.clone(), tensor.requires_grad)
    _tell_sizes(small)
    return small


def resize_to(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give every layer of `module` the size that its weights in `tensors` have, in place."""
    for layer_name, layer in module.named_modules():
        if not isinstance(layer, RESIZABLE):
            continue
        for name, tensor in [*layer.named_parameters(), *layer.named_buffers()]:
            saved = tensors.get(f"{layer_name}.{name}")
            # Whole numbers cannot be trained; they are refused with a reason when the weights are loaded.
            if saved is None or saved.is_floating_point() != tensor.is_floating_point():
                continue
            if saved.shape != tensor.shape and saved.dim() == tensor.dim():
                _replace(layer, name, saved.to(tensor.device, copy=True), tensor.requires_grad)
        _tell_sizes(layer)


def _replace(layer: nn.Module, name: str, value: Tensor, trained: bool) -> None:
    if name in dict(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(value, requires_grad=trained))
    else:
        setattr(layer, name, value)


def _tell_sizes(layer: nn.Module) -> None:
    """Make the size attributes of a layer agree with its weights."""
    if isinstance(layer, nn.Conv2d):
        if layer.groups == 1:
            layer.out_channels, layer.in_channels = layer.weight.shape[:2]
        elif layer.groups == layer.in_channels == layer.out_channels:
            layer.groups = layer.in_channels = layer.out_channels = layer.weight.shape[0]
    elif isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = layer.weight.shape
    elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
        channels = next((tensor for tensor in (layer.weight, layer.running_mean) if tensor is not None), None)
        layer.num_features = layer.num_features if channels is None else channels.shape[0]


def set_layer(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put `layer` in the place of the submodule called `name`."""
    parent_name, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent_name), last, layer)

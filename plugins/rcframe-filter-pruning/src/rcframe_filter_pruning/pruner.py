"""Removing whole filters from plain convolutional networks (Li et al., 2017)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Literal

import attrs
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from rcframe import (
    Layer,
    NotAChain,
    OneShotPruner,
    PruningReport,
    RequestError,
    SpikingNetwork,
    between,
    chain,
    component,
    find_tap,
    option,
    select,
    set_layer,
)
from rcframe_filter_pruning.proof import agree, silence
from rcframe_filter_pruning.scores import Criterion, filter_scores, strongest


@component
class Filters(OneShotPruner):
    """Removes the filters with the smallest sum of absolute weights, and what the next layers did with them.

    Li, Kadav, Durdanovic, Samet, Graf: "Pruning Filters for Efficient ConvNets" (ICLR 2017). The result is a smaller
    dense network of the same classes, not a masked one. Works on chains of layers: convolutions, batch norm,
    activations, pooling, flatten, linear. The last layer keeps all its outputs.
    """

    ratio: float = option(default=0.5, help="Fraction of the filters removed in every layer.", check=between(0, 1))
    criterion: Criterion = option(
        default="l1", help="What ranks filters: `folded` counts batch norm in; `random` and `largest` are controls."
    )
    order: Literal["independent", "greedy"] = option(
        default="independent", help="Whether a layer is scored on all its inputs, or on those that survived."
    )
    hidden: bool = option(default=False, help="Whether units of hidden linear layers are removed too.")
    skip: tuple[str, ...] = option(default=(), help="Layers to leave whole, by the name they have in the network.")

    def unsupported(self, module: nn.Module) -> str | None:
        """Only chains of layers whose channels can be followed are pruned."""
        for name in self.skip:
            find_tap(module, name, option="skip")
        try:
            layers = _layers(module)
        except NotAChain as error:
            return f"layer `{error.layer}` {error.reason}, and this pruner follows plain chains only"
        for layer in layers:
            if reason := _obstacle(layer.module):
                return f"layer `{layer.name}` {reason}"
        if not self._prunable(layers):
            return "it has no convolution whose filters could be removed"
        return None

    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        """Return the smaller network and the indices each layer kept; `x` (B, C, H, W) gives the size of images."""
        if reason := self.unsupported(module):
            raise RequestError(f"`filters` cannot prune this network: {reason}.")
        small, silenced = copy.deepcopy(module), copy.deepcopy(module)
        kept = {}
        for cut in self._cuts(_layers(module)):
            set_layer(small, cut.name, select(cut.layer, cut.out_keep, cut.in_keep))
            if cut.in_keep is not None:
                silence(silenced.get_submodule(cut.name), cut.in_keep)
            if cut.chosen and cut.out_keep is not None:
                kept[cut.name] = tuple(cut.out_keep.tolist())
        if not agree(small, silenced, x.shape[1:]):
            raise RequestError(
                "`filters` cannot prune this network: without the filters it computes something else than with their "
                "outputs ignored, so some layer mixes channels or cannot lose any."
            )
        return small, PruningReport.of(module, small, kept)

    def _prunable(self, layers: Sequence[Layer]) -> set[str]:
        """Name the layers whose outputs may go: convolutions, hidden linear layers if asked, never the last."""
        weighted = [layer for layer in layers if _sets_channels(layer.module)]
        return {layer.name for layer in weighted[:-1] if layer.name not in self.skip and self._takes(layer.module)}

    def _takes(self, part: nn.Module) -> bool:
        return self.hidden or not isinstance(part, nn.Linear)

    def _cuts(self, layers: Sequence[Layer]) -> Iterator[Cut]:
        """Walk the chain, carrying which of the previous layer's `channels` are alive (None: all)."""
        prunable = self._prunable(layers)
        alive: Tensor | None = None
        channels = 0
        for position, layer in enumerate(layers):
            part = layer.module
            if isinstance(part, nn.Conv2d) and not _sets_channels(part):
                if alive is not None:
                    yield Cut(layer.name, part, alive, None, False)
            elif isinstance(part, nn.Conv2d | nn.Linear):
                features = part.in_features if isinstance(part, nn.Linear) else channels
                in_keep = _spread(alive, channels, features)
                chosen = layer.name in prunable
                alive = self._choose(layers, position, in_keep) if chosen else None
                channels = part.weight.shape[0]
                if alive is not None or in_keep is not None:
                    yield Cut(layer.name, part, alive, in_keep, chosen)
            elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d) and alive is not None:
                yield Cut(layer.name, part, _spread(alive, channels, part.num_features), None, False)

    def _choose(self, layers: Sequence[Layer], position: int, in_keep: Tensor | None) -> Tensor:
        part = layers[position].module
        assert isinstance(part, nn.Conv2d | nn.Linear)
        if self.order == "greedy":
            part = select(part, None, in_keep)
        return strongest(filter_scores(part, _norm_after(layers, position), self.criterion), self.ratio)


@attrs.frozen
class Cut:
    """What happens to one layer: the outputs and inputs it keeps (None keeps all)."""

    name: str
    layer: nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d
    out_keep: Tensor | None
    in_keep: Tensor | None
    #: Whether the outputs were chosen here, and do not just follow from the layer before.
    chosen: bool


def _spread(alive: Tensor | None, channels: int, features: int) -> Tensor | None:
    """Return the surviving features where `channels` became `features` by flattening.

    Channel j owns the features j*H*W to (j+1)*H*W - 1.
    """
    if alive is None or features == channels:
        return alive
    area = features // channels
    return (alive.unsqueeze(1) * area + torch.arange(area, device=alive.device)).flatten()


def _sets_channels(part: nn.Module) -> bool:
    """Say whether a layer makes channels or units of its own; a depthwise convolution keeps those it gets."""
    return isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)


def _norm_after(layers: Sequence[Layer], position: int) -> nn.BatchNorm1d | nn.BatchNorm2d | None:
    """Return the batch norm directly behind a layer."""
    following = layers[position + 1].module if position + 1 < len(layers) else None
    return following if isinstance(following, nn.BatchNorm1d | nn.BatchNorm2d) else None


def _layers(module: nn.Module) -> tuple[Layer, ...]:
    """Return the chain of a network; of a spiking one, the chain that runs at every time step."""
    if isinstance(module, SpikingNetwork):
        return tuple(Layer(f"body.{layer.name}", layer.module) for layer in chain(module.body))
    return chain(module)


def _obstacle(part: nn.Module) -> str | None:
    """Say why channels cannot be followed through a layer, or None."""
    if is_parametrized(part):
        return "is parametrized (weight norm, say); call torch.nn.utils.parametrize.remove_parametrizations first"
    if not all(bool(torch.isfinite(parameter).all()) for parameter in part.parameters()):
        return "has weights that are not finite"
    if isinstance(part, nn.Conv2d) and part.groups > 1 and not part.groups == part.in_channels == part.out_channels:
        return f"is a convolution in {part.groups} groups, which this pruner does not take apart"
    if isinstance(part, nn.Conv2d | nn.Linear | nn.BatchNorm1d | nn.BatchNorm2d):
        return None
    if any(parameter.dim() > 0 for parameter in part.parameters()):
        return f"({type(part).__name__}) has parameters of its own that this pruner does not know"
    return None

"""Reads a module as the chain of steps that the bounds walk."""

from __future__ import annotations

from functools import singledispatch

import attrs
import torch
from torch import Tensor, nn

from rcframe import Normalize, NotAChain, RequestError, chain, evaluating
from rcframe_convex.steps import (
    AdaptiveMean,
    Conv,
    Dense,
    FixedMean,
    Flat,
    Rectifier,
    Same,
    Scale,
    Step,
    Unsupported,
)
from rcframe_convex.windows import Kernel, Shape

#: A traced chain may differ from the network by this fraction of the largest logit (or of 1): rounding only.
_ROUNDING = 1e-3


@attrs.frozen(eq=False)
class Network:
    """The steps of a network, and the shape of the input of each."""

    steps: tuple[Step, ...]
    shapes: tuple[Shape, ...]
    classes: int


def steps_of(module: nn.Module) -> tuple[Step, ...]:
    """Return the steps of a module in evaluation mode, or say which layer is in the way."""
    with evaluating(module):
        try:
            layers = chain(module)
        except NotAChain as error:
            raise Unsupported(f"it is not a chain of layers: `{error.layer}` {error.reason}") from None
        steps = []
        for layer in layers:
            try:
                steps.append(step_of(layer.module))
            except Unsupported as error:
                kind = type(layer.module).__name__
                place = f"layer `{layer.name}` ({kind})" if layer.name else f"the {kind}"
                raise Unsupported(f"{place} {error}") from None
    return tuple(steps)


def read(module: nn.Module, x: Tensor) -> Network:
    """Return the network as it treats images `x` (B, C, H, W); parameters keep their gradients."""
    steps = steps_of(module)
    with evaluating(module), torch.no_grad():
        logits: Tensor = module(x)
        z, shapes = x, []
        for step in steps:
            shapes.append((z.shape[1], z.shape[2], z.shape[3]))
            z = step.forward(z)
    if logits.dim() != 2 or z.flatten(1).shape != logits.shape:
        raise RequestError(
            f"The network returns {tuple(logits.shape)} for images {tuple(x.shape)}, but certificates need logits "
            f"(B, classes): end it with `nn.Flatten()` and a linear layer."
        )
    _check_same(z.flatten(1), logits)
    return Network(steps, tuple(shapes), logits.shape[1])


def _check_same(computed: Tensor, logits: Tensor) -> None:
    """Refuse a network that its steps do not describe: bounds for another function would prove nothing.

    It happens where a forward hook changes an output, or a layer only looks like one of torch's.
    """
    if not logits.numel():
        return
    difference = float((computed - logits).abs().max())
    if not difference <= _ROUNDING * max(1.0, float(logits.abs().max())):
        raise RequestError(
            f"The network differs from its layers in order by {difference:.3g} in the logits, so their bounds would "
            f"not be its bounds: remove forward hooks that change outputs, and layers that override torch's."
        )


@singledispatch
def step_of(module: nn.Module) -> Step:
    """Return the step for one layer, or refuse with the rest of the sentence `layer ... `."""
    raise Unsupported("is not linear, conv, ReLU, flatten, batch norm, average pooling or normalisation")


@step_of.register
def _(module: nn.ReLU) -> Step:
    return Rectifier()


@step_of.register
def _(module: nn.Identity) -> Step:
    return Same()


@step_of.register(nn.Dropout)
@step_of.register(nn.Dropout2d)
def _(module: nn.Dropout | nn.Dropout2d) -> Step:
    if module.training:
        raise Unsupported("drops units in evaluation mode too: pass `training=self.training` to it")
    return Same()


@step_of.register
def _(module: nn.Flatten) -> Step:
    if module.start_dim != 1 or module.end_dim not in (-1, 3):
        raise Unsupported(f"flattens axes {module.start_dim} to {module.end_dim} instead of all but the first")
    return Flat()


@step_of.register
def _(module: nn.Linear) -> Step:
    return Dense(module.weight, module.bias)


@step_of.register
def _(module: nn.Conv2d) -> Step:
    if module.padding_mode != "zeros":
        raise Unsupported(f"pads with `{module.padding_mode}` instead of zeros")
    high, wide = (_kernel(module, axis) for axis in (0, 1))
    return Conv(module.weight, module.bias, (high, wide), module.groups)


def _kernel(module: nn.Conv2d, axis: int) -> Kernel:
    size, stride, dilation = module.kernel_size[axis], module.stride[axis], module.dilation[axis]
    if module.padding == "same":
        total = dilation * (size - 1)
        return Kernel(size, stride, dilation, total // 2, total - total // 2)
    padding = 0 if isinstance(module.padding, str) else module.padding[axis]
    return Kernel(size, stride, dilation, padding, padding)


@step_of.register
def _(module: nn.AvgPool2d) -> Step:
    sizes, paddings = _pair(module.kernel_size), _pair(module.padding)
    strides = _pair(module.stride)
    if module.ceil_mode or (any(paddings) and not module.count_include_pad and module.divisor_override is None):
        raise Unsupported("averages over windows of several sizes (`ceil_mode`, or padding that is not counted)")
    high, wide = (
        Kernel(size, stride, 1, padding, padding)
        for size, stride, padding in zip(sizes, strides, paddings, strict=True)
    )
    return FixedMean((high, wide), module.divisor_override)


@step_of.register
def _(module: nn.AdaptiveAvgPool2d) -> Step:
    size = module.output_size
    return AdaptiveMean((size[0], size[1]) if isinstance(size, tuple | list) else (size, size))


@step_of.register(nn.BatchNorm1d)
@step_of.register(nn.BatchNorm2d)
def _(module: nn.BatchNorm1d | nn.BatchNorm2d) -> Step:
    if module.running_mean is None or module.running_var is None:
        raise Unsupported("keeps no running statistics, so each image changes the outputs of the others")
    factor = (module.running_var + module.eps).rsqrt()
    if module.weight is not None:
        factor = factor * module.weight
    shift = -module.running_mean * factor
    return Scale(factor, shift if module.bias is None else shift + module.bias)


@step_of.register
def _(module: Normalize) -> Step:
    return Scale(1 / module.std.flatten(), -(module.mean / module.std).flatten())


def _pair(value: int | tuple[int, ...]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])

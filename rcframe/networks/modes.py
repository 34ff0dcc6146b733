"""Train and evaluation mode, and gradients to parameters: set for a while and restored exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put every submodule into evaluation mode and give each its own mode back afterwards."""
    before = [(part, part.training) for module in modules for part in module.modules()]
    for part, training in before:
        if training:
            part.training = False
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


@contextmanager
def parameters_fixed(module: nn.Module) -> Iterator[None]:
    """Stop gradients to the parameters of `module`, so that nothing can leave any in them."""
    moving = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in moving:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in moving:
            parameter.requires_grad_(True)


def freeze(module: nn.Module) -> nn.Module:
    """Put a finished network into evaluation mode for good and stop gradients to its parameters."""
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module

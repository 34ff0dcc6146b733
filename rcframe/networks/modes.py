"""Modes, gradients to parameters, and buffers: changed for a while and restored exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
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


@contextmanager
def buffers_kept(*modules: nn.Module) -> Iterator[None]:
    """Give every submodule its buffers back afterwards, such as the running statistics of batch norm."""
    before = [
        (part, name, buffer, buffer.clone())
        for module in modules
        for part in module.modules()
        for name, buffer in part._buffers.items()
        if buffer is not None
    ]
    try:
        yield
    finally:
        with torch.no_grad():
            for part, name, buffer, value in before:
                # A layer may have put another tensor in its place.
                part._buffers[name] = buffer.copy_(value)


def freeze(module: nn.Module) -> nn.Module:
    """Put a finished network into evaluation mode for good and stop gradients to its parameters."""
    module.eval()
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module

"""Choosing a device."""

from __future__ import annotations

import torch

from rcframe.errors import RequestError


def resolve_device(asked: str) -> torch.device:
    """Return the device a user asked for; `auto` prefers CUDA, then MPS, then the CPU."""
    if asked == "auto":
        return torch.device(_best())
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise RequestError(f"No device `{asked}`. Devices: auto, cpu, cuda, cuda:1, mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise RequestError(
            f"Device `{asked}` is not there: this machine has {torch.cuda.device_count()} CUDA devices. "
            f"Use --device auto or cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RequestError("Device `mps` is not there on this machine. Use --device auto or cpu.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise RequestError(f"Device `{asked}` is not supported. Devices: auto, cpu, cuda, cuda:1, mps.")
    return device


def _best() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"

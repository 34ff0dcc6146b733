"""Writing safetensors files atomically, with errors that say what the disk said."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from rcframe.files import replacing


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that is whole or absent."""
    seen: set[int] = set()
    with replacing(path) as temporary:
        try:
            save_file({name: _alone(tensor, seen) for name, tensor in tensors.items()}, temporary, dict(metadata))
        except SafetensorError as error:
            raise _disk_error(error, path) from error


def _alone(tensor: Tensor, seen: set[int]) -> Tensor:
    """Return the tensor on the CPU in memory that it shares with no other of the file, as the format demands."""
    plain = tensor.detach().cpu().contiguous()
    address = plain.untyped_storage().data_ptr()
    if address in seen or plain.untyped_storage().nbytes() != plain.nbytes:
        return plain.clone()
    seen.add(address)
    return plain


def _disk_error(error: SafetensorError, path: Path) -> OSError:
    """Return the operating system's error inside one of safetensors, which only names its number."""
    number = re.search(r"os error (\d+)", str(error))
    if number is None:
        return OSError(0, str(error), str(path))
    return OSError(int(number[1]), os.strerror(int(number[1])), str(path))

"""The idx format of MNIST: a big-endian header with the sizes, then one byte for each pixel or label."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import torch
from torch import Tensor

from rcframe.data.files import damaged

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Return the uint8 array with `dimensions` sizes that `path` holds, plain or with the suffix `.gz`."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, OSError, zlib.error) as error:
        raise damaged(path, f"it cannot be read to its end ({error})") from error
    header = 4 + 4 * dimensions
    expected_start = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if content[:4] != expected_start or len(content) < header:
        raise damaged(
            path,
            f"it does not begin with the idx header `{expected_start.hex()}` and {dimensions} sizes, "
            f"but with `{content[:4].hex()}`",
        )
    sizes = struct.unpack(f">{dimensions}I", content[4:header])
    expected, found = header + math.prod(sizes), len(content)
    if found != expected:
        raise damaged(path, f"its header announces {expected} bytes, but it holds {found}")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)[header:].view(*sizes)

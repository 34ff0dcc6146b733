"""Is there anything for a gradient attack to climb?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rcframe.access import Access
from rcframe.evaluation.oracle import ModelOracle
from rcframe.evaluation.trust.controls import gradient, margins
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.evaluation.trust.pieces import in_pieces
from rcframe.networks.modes import evaluating, parameters_fixed

#: Fewer images without a gradient, or a smaller share, say nothing: some lie where a sound network is flat.
_FEWEST, _SHARE = 2, 0.03


def gradient_flags(role: str, module: nn.Module, x: Tensor, y: Tensor) -> Iterator[Flag]:
    """Check the input gradients at images (B, C, H, W) with labels (B,) that withstood every attack."""
    of = len(x)
    flat, saturated, broken = in_pieces(partial(_judged, module), x, y).sum(dim=0).tolist() if of else (0, 0, 0)
    if broken:
        yield Flag(
            Kind.NO_GRADIENT,
            f"the input gradient of the {role} is not finite at {broken} of {of} images that withstood: gradient "
            f"attacks cannot move them, which proves nothing; mend the layer that overflows or divides by zero",
        )
    if _many(flat, of):
        yield Flag(
            Kind.NO_GRADIENT,
            f"the input gradient of the {role} is zero at {flat} of {of} images that withstood: gradient attacks "
            f"cannot move them, which proves nothing; attack it without gradients, or through a smooth stand-in for "
            f"the layer that stops them",
        )
    if _many(saturated, of):
        yield Flag(
            Kind.SATURATED,
            f"the outputs of the {role} are so large that cross-entropy has no gradient at {saturated} of {of} images "
            f"that withstood: attacks that climb it cannot move these; use one that climbs differences of logits",
        )


def _judged(module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return for each image (B, 3) whether no loss has a gradient, only cross-entropy has none, or one is no number."""
    oracle = ModelOracle(module, Access.LABEL | Access.LOGITS | Access.INPUT_GRAD)
    with evaluating(module), parameters_fixed(module), torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_(True)
        of_margin = gradient(margins(oracle.logits(x), y), x).flatten(1)
        of_entropy = gradient(F.cross_entropy(oracle.logits(x), y, reduction="none"), x).flatten(1)
    flat, still = (of_margin == 0).all(dim=1), (of_entropy == 0).all(dim=1)
    broken = ~(of_margin.isfinite() & of_entropy.isfinite()).all(dim=1)
    return torch.stack([flat & still, still & ~flat, broken], dim=1)


def _many(count: int, of: int) -> bool:
    return count >= _FEWEST and count > _SHARE * of

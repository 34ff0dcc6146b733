"""Is there anything for a gradient attack to climb?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rcframe.access import Access
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.oracle import ModelOracle
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.controls import Climb, gradient, margins
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.evaluation.trust.pieces import in_pieces
from rcframe.networks.modes import evaluating, parameters_fixed

#: Fewer images without a gradient, or a smaller share, say nothing: some lie where a sound network is flat.
_FEWEST, _SHARE = 2, 0.03
_CLIMB = Climb(steps=20)


def gradient_flags(role: str, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Iterator[Flag]:
    """Check the input gradients at images (B, C, H, W) with labels (B,) that withstood every attack."""
    of = len(x)
    if not of:
        return
    judged = in_pieces(partial(_judged, module), x, y)
    flat, saturated, broken = judged.sum(dim=0).tolist()
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
        still = judged[:, 1]
        # Where the attacks of the run got past it, or nothing is there to be found, it did no harm.
        fell = int(in_pieces(partial(_climbed, module, threat), x[still], y[still]).sum())
        if _many(fell, of):
            yield Flag(
                Kind.SATURATED,
                f"the outputs of the {role} are so large that cross-entropy has no gradient at {saturated} of {of} "
                f"images that withstood: attacks that climb it, as those of other libraries do, cannot move these; "
                f"{_CLIMB.steps} steps up differences of logits broke {fell} of them; add an attack that climbs such "
                f"differences, as those of rcframe-attacks do",
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


def _climbed(module: nn.Module, threat: Threat, x: Tensor, y: Tensor) -> Tensor:
    """Return which images (B,) fall to an attack whose objective does not saturate."""
    return predict(module, attack_batch(_CLIMB, module, x, y, threat)) != y


def _many(count: int, of: int) -> bool:
    return count >= _FEWEST and count > _SHARE * of

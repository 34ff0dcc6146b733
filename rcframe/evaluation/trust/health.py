"""Is a network in a state in which attacks, and their verification, say anything?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.module import register_module_forward_pre_hook

from rcframe.errors import listed
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.networks.modes import evaluating

#: Answers differ when a logit does by more than this share of the largest one: rounding stays far below, where an
#: image is asked again in the same batch, and below the second with another batch in short floats.
_SAME_BATCH, _OTHER_BATCH = 1e-4, 2e-2
#: So many images are asked about with nothing but copies of themselves.
_ALONE = 8
#: Images that use less than this part of the pixel range were scaled twice, or are blank.
_DARK = 0.02
_NAMED = 3
#: Layers that do something else in training mode. Any other matters only if the network has it: what a `forward` makes
#: for itself, `nn.ReLU()(x)` say, is in training mode from birth.
_MODAL = (_DropoutNd, _NormBase, nn.RReLU, nn.RNNBase, nn.MultiheadAttention)


def pixel_flags(x: Tensor) -> Iterator[Flag]:
    """Check that images (B, C, H, W) fill the range in which eps is measured."""
    low, high = float(x.min()), float(x.max())
    if not (low >= 0 and high <= 1):
        yield Flag(
            Kind.PIXELS,
            f"measured pixels lie in [{low:.3g}, {high:.3g}] instead of [0, 1], so that eps means something else than "
            f"it says; scale the images, and let the model normalise them itself",
        )
    elif high - low < _DARK:
        yield Flag(
            Kind.PIXELS,
            f"all measured pixels lie in [{low:.3g}, {high:.3g}], a small part of [0, 1], so that any eps is huge; "
            f"were the images divided by 255 twice?",
        )


def answer_flags(role: str, module: nn.Module, x: Tensor) -> Iterator[Flag]:
    """Check that a network in evaluation mode is in it, and answers the same about an image (B, C, H, W) every time."""
    with torch.no_grad(), evaluating(module), _noting_training(module) as training:
        first, again = module(x), module(x)
    if training:
        yield Flag(
            Kind.TRAINING_MODE,
            f"{_some(training)} of the {role} computed in training mode although evaluation mode was set, so its "
            f"figures are those of another network; register every layer, and let no `forward` change modes",
        )
    unsteady = _difference(first, again)
    if changed := int((unsteady > _SAME_BATCH).sum()):
        yield Flag(
            Kind.RANDOM,
            f"the {role} answers {changed} of {len(x)} images differently when asked again (by up to "
            f"{float(unsteady.max()):.1%} of the largest logit): attacks chase a moving target and look weaker than "
            f"they are; average them over many answers, or switch dropout and noise off",
        )
    else:
        yield from _company_flags(role, module, x, first)


def _company_flags(role: str, module: nn.Module, x: Tensor, answers: Tensor) -> Iterator[Flag]:
    """Hold answers (B, classes) to a batch against those to some of its images in batches of their own copies."""
    few = x[:_ALONE]
    with torch.no_grad(), evaluating(module):
        alone = torch.cat([module(torch.cat([image, image]))[:1] for image in torch.split(few, 1)])
    apart = _difference(alone, answers[:_ALONE])
    if changed := int((apart > _OTHER_BATCH).sum()):
        yield Flag(
            Kind.BATCH,
            f"the {role}'s answers to {changed} of {len(few)} images depend on the other images of the batch (by up "
            f"to {float(apart.max()):.1%} of the largest logit), as with batch statistics: its accuracy is that of "
            f"one way to form batches; let it use the running statistics of its training",
        )


def _difference(first: Tensor, second: Tensor) -> Tensor:
    """Return by how much two answers (B, classes) differ, as a share of the largest logit (B,)."""
    scale = torch.maximum(first.abs(), second.abs()).amax(dim=1).clamp_min(1e-12)
    change = ((first - second).abs().amax(dim=1) / scale).nan_to_num(1.0, 1.0, 1.0)
    # A network that answers nan does so every time; that is the next check's business.
    return torch.where(first.isfinite().all(dim=1) | second.isfinite().all(dim=1), change, 0.0)


@contextmanager
def _noting_training(network: nn.Module) -> Iterator[list[str]]:
    """Collect the classes of all modules that are called in training mode, registered in the network or not."""
    called: list[str] = []
    own = set(network.modules())

    def note(module: nn.Module, inputs: object) -> None:
        if module.training and (module in own or isinstance(module, _MODAL)):
            called.append(type(module).__name__)

    handle = register_module_forward_pre_hook(note)
    try:
        yield called
    finally:
        handle.remove()


def _some(classes: list[str]) -> str:
    kinds = list(dict.fromkeys(classes))
    return f"{listed(kinds[:_NAMED])}{' and others' if len(kinds) > _NAMED else ''}"

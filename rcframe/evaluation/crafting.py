"""Calling attacks and certifiers: what they are given, what they may return, and the model left as it was."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack, Certifier
from rcframe.data.images import check_pixels
from rcframe.errors import RequestError, RunFailed
from rcframe.evaluation.oracle import ModelOracle, Queries, Release
from rcframe.evaluation.threat import Threat
from rcframe.networks.modes import evaluating, parameters_fixed
from rcframe.training.memory import out_of_memory

#: An attack may leave the ball by this fraction of its radius, as float32 does, before that is called a fault.
_ROUNDING = 1e-3
#: The least logit that attackers are told of a guarded model.
_FLOOR = -1e4


@attrs.define
class Faults:
    """Images for which an attack returned what it may not; they were put right before anything was counted."""

    #: Further away than eps: moved back.
    outside: int = 0
    #: Not finite: left unattacked.
    broken: int = 0

    def state_dict(self) -> dict[str, object]:
        """Return the counts."""
        return attrs.asdict(self)

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from saved counts."""
        for name, value in state.items():
            setattr(self, name, value)


def attack_batch(
    attack: Attack,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    threat: Threat,
    queries: Queries | None = None,
    *,
    source: nn.Module | None = None,
    faults: Faults | None = None,
    release: Release | None = None,
) -> Tensor:
    """Return adversarial images (B, C, H, W) for `model`: crafted by `attack`, projected into the threat.

    They are crafted on `source` where one is given, else on the model itself. Both come back exactly as they were:
    modes, gradients, batch statistics. `queries` and `faults` collect what was asked and what had to be put right.
    `release` is the defence of the model's owner, which only those meet who ask.
    """
    x, y = _checked(x.detach(), y, "The images to attack")
    if threat.norm not in attack.norms:
        raise RequestError(f"`{_name(attack)}` works in {' and '.join(attack.norms)}, not in {threat.norm}.")
    if threat.eps == 0 or not len(x):
        return x.clone()
    asked = model if source is None else source
    oracle = ModelOracle(asked, attack.access | Access.LABEL, release=_floored(release) if release else None)
    if queries is not None:
        oracle.queries = queries
    with evaluating(model, asked), parameters_fixed(asked), torch.inference_mode(False), torch.enable_grad():
        # Copies, so that an attack that works in place cannot move the centre of its own ball.
        try:
            proposal: object = attack.craft(oracle, x.clone(), y.clone(), threat)
        except (IndexError, RuntimeError) as error:
            if not out_of_memory(error):
                _check_classes(y, asked(x).shape[1])
                _check_gradient(asked, x, attack)
            raise
    proposed = _proposed(proposal, x, _name(attack)).to(x.dtype)
    return _contained(proposed, x, threat, attack, faults if faults is not None else Faults())


def check_model(model: object, x: Tensor, y: Tensor) -> None:
    """Refuse what is no network, cannot read the images `x` (B, C, H, W), or has no output for a label in `y` (B,)."""
    if not isinstance(model, nn.Module):
        raise RequestError(f"The model to attack is a {type(model).__name__}, but it must be an `nn.Module`.")
    _checked(x, y, "The images to attack")
    if not len(x):
        return
    try:
        with evaluating(model), torch.no_grad():
            classes = model(x[:1]).shape[1]
    except Exception as error:
        if out_of_memory(error):
            raise
        raise RequestError(
            f"The model cannot read images {tuple(x.shape[1:])} (channels, height, width), or does not return logits: "
            f"its forward pass failed with {type(error).__name__}: {error}."
        ) from error
    _check_classes(y, classes)


def _proposed(proposal: object, x: Tensor, attack: str) -> Tensor:
    """Refuse what is no batch of images in the shape of `x`."""
    if not isinstance(proposal, Tensor):
        raise RunFailed(
            f"`{attack}` returned a {type(proposal).__name__} from `craft`; expected images {tuple(x.shape)}."
        )
    if proposal.is_complex() or proposal.layout is not torch.strided:
        raise RunFailed(f"`{attack}` returned a tensor of {proposal.dtype} ({proposal.layout}); expected plain images.")
    if proposal.shape != x.shape:
        raise RunFailed(f"`{attack}` returned images {tuple(proposal.shape)}; expected {tuple(x.shape)}.")
    return proposal.detach()


def _contained(proposed: Tensor, x: Tensor, threat: Threat, attack: Attack, faults: Faults) -> Tensor:
    """Move proposals (B, C, H, W) into the threat and count those that had no business where they were."""
    finite = proposed.isfinite().flatten(1).all(dim=1)
    proposed = torch.where(finite.view(-1, *[1] * (x.dim() - 1)), proposed, x)
    faults.broken += int((~finite).sum())
    outside = threat.distance(proposed, x) > (1 + _ROUNDING) * threat.eps
    if attack.nearest:
        # What it found is too far away; the same moved back is nothing that it found.
        proposed = torch.where(outside.view(-1, *[1] * (x.dim() - 1)), x, proposed)
    else:
        faults.outside += int(outside.sum())
    return threat.project(proposed, x)


def certify_batch(certifier: Certifier, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """Return lower bounds (B, classes) on the margins of `model` in evaluation mode, own column 0."""
    x, y = _checked(x, y, "The images to certify")
    if threat.norm not in certifier.norms:
        raise RequestError(f"`{_name(certifier)}` certifies {' and '.join(certifier.norms)}, not {threat.norm}.")
    if reason := certifier.unsupported(model):
        raise RequestError(f"`{_name(certifier)}` cannot certify this model: {reason}.")
    with evaluating(model):
        try:
            margins = certifier.margins(model, x, y, threat)
        except (IndexError, RuntimeError) as error:
            if not out_of_memory(error):
                _check_classes(y, model(x).shape[1])
            raise
    if margins.dim() != 2 or len(margins) != len(x):
        raise RunFailed(f"`{_name(certifier)}` returned margins {tuple(margins.shape)} for {len(x)} images.")
    return margins


def _floored(release: Release) -> Release:
    """Give attackers a very small probability in the place of none: whoever compares scores needs numbers."""

    def floored(logits: Tensor, images: Tensor, query: int) -> Tensor:
        return release(logits, images, query).clamp_min(_FLOOR)

    return floored


def _checked(x: Tensor, y: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Refuse images and labels that do not belong together; labels (B,) come back as int64."""
    check_pixels(x, what)
    if y.shape != x.shape[:1] or y.is_floating_point() or y.dtype == torch.bool:
        raise RequestError(
            f"{what} come with labels {tuple(y.shape)} of {y.dtype}, but each of the {len(x)} images needs one whole "
            f"number: pass labels ({len(x)},) of int64."
        )
    if len(y) and int(y.min()) < 0:
        raise RequestError(f"{what} come with label {int(y.min())}, but classes are counted from 0.")
    return x, y.long()


def _check_classes(y: Tensor, classes: int) -> None:
    if len(y) and int(y.max()) >= classes:
        raise RequestError(f"There is a label {int(y.max())}, but the model has {classes} classes, counted from 0.")


def _check_gradient(model: nn.Module, x: Tensor, attack: Attack) -> None:
    if Access.INPUT_GRAD in attack.access and not model(x.requires_grad_(True)).requires_grad:
        raise RequestError(
            f"`{_name(attack)}` finds no gradient from the model's outputs back to the image: use an attack that needs "
            f"none, or replace the layer that stops it (`detach`, or `no_grad`)."
        )


def _name(component: object) -> str:
    return type(component).__name__

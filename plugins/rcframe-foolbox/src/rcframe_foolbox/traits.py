"""What foolbox does not say about its attacks: what they ask of a model, and which cannot be used here."""

from __future__ import annotations

from importlib.util import find_spec

import foolbox.attacks as theirs
from foolbox.attacks.additive_noise import BaseAdditiveNoiseAttack, BaseRepeatedAdditiveNoiseAttack
from foolbox.attacks.base import (
    AttackWithDistance,
    FlexibleDistanceMinimizationAttack,
    MinimizationAttack,
)
from foolbox.attacks.brendel_bethge import BrendelBethgeAttack
from foolbox.distances import l2, linf

from rcframe import Access, Norm
from rcframe_foolbox.names import TheirClass

DISTANCES = {"linf": linf, "l2": l2}

_BLIND = (BaseAdditiveNoiseAttack, theirs.L2ContrastReductionAttack, theirs.InversionAttack)
_LABEL_ONLY = (
    BaseRepeatedAdditiveNoiseAttack,
    theirs.BinarySearchContrastReductionAttack,
    theirs.BoundaryAttack,
    theirs.GaussianBlurAttack,
    theirs.HopSkipJumpAttack,
    theirs.LinearSearchBlendedUniformNoiseAttack,
    theirs.LinearSearchContrastReductionAttack,
    theirs.PointwiseAttack,
    theirs.SaltAndPepperNoiseAttack,
)
_SINGLE_STEP = (
    *_BLIND,
    BaseRepeatedAdditiveNoiseAttack,
    theirs.L1FastGradientAttack,
    theirs.L2FastGradientAttack,
    theirs.LinfFastGradientAttack,
)
_NOT_HERE: dict[TheirClass, str] = {
    theirs.SpatialAttack: "it turns and shifts images, and no norm ball describes how far that is",
    theirs.DatasetAttack: "it takes images of other classes from a data set, and an attack here sees none",
    theirs.BinarizationRefinementAttack: "it improves images that another attack found on a model that binarises its "
    "inputs, and an attack here starts from clean images",
}


def why_not(cls: TheirClass) -> str | None:
    """Say why an attack of foolbox cannot be used here, or None."""
    for unusable, reason in _NOT_HERE.items():
        if issubclass(cls, unusable):
            return reason
    if not norms_of(cls):
        return f"it measures changes in {_own_norm(cls)}, and threats here are measured in linf or l2"
    if issubclass(cls, BrendelBethgeAttack) and find_spec("numba") is None:
        return "it needs the package numba, which is not installed: pip install numba"
    return None


def norms_of(cls: TheirClass) -> tuple[Norm, ...]:
    """Return the norms in which an attack can be asked to stay near the image."""
    if not issubclass(cls, AttackWithDistance):
        return ()
    if takes_norm(cls):
        return ("linf", "l2")
    known: dict[str, tuple[Norm, ...]] = {"Linf": ("linf",), "L2": ("l2",)}
    return known.get(_own_norm(cls), ())


def takes_norm(cls: TheirClass) -> bool:
    """Say whether the norm is given to the attack when it is built."""
    return issubclass(cls, FlexibleDistanceMinimizationAttack | theirs.HopSkipJumpAttack)


def _own_norm(cls: TheirClass) -> str:
    """Return the norm in which an attack measures, such as `L2` or `Linf`."""
    distance: object = getattr(cls, "distance", None)
    if isinstance(distance, property) and distance.fget:  # the same for every object
        distance = distance.fget(None)
    return str(distance).split()[0]


def access_of(cls: TheirClass) -> Access:
    """Return what an attack asks of a model."""
    if issubclass(cls, _BLIND):
        return Access.NONE
    if issubclass(cls, _LABEL_ONLY):
        return Access.LABEL
    if issubclass(cls, theirs.GenAttack):
        return Access.LOGITS
    return Access.LOGITS | Access.INPUT_GRAD


def iterates(cls: TheirClass) -> bool:
    """Say whether an attack builds on an image that it moved before."""
    return not issubclass(cls, _SINGLE_STEP)


def looks_for_nearest(cls: TheirClass) -> bool:
    """Say whether an attack looks for the nearest misclassified image, however far that is."""
    return issubclass(cls, MinimizationAttack)

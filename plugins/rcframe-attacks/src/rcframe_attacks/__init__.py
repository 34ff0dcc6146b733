"""Gradient attacks for rcframe."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from rcframe import Spec, hookimpl


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(
            kind="attack",
            name="fgsm",
            target="rcframe_attacks.fgsm:FGSM",
            summary="One step along the sign of the input gradient (Goodfellow et al., 2015).",
        ),
        Spec(
            kind="attack",
            name="fgm",
            target="rcframe_attacks.fgsm:FGM",
            summary="One step of length eps along the input gradient, in l2 (Goodfellow et al., 2015).",
        ),
        Spec(
            kind="attack",
            name="bim",
            target="rcframe_attacks.bim:BIM",
            summary="Projected gradient steps from the image itself (Kurakin et al., 2017).",
        ),
        Spec(
            kind="attack",
            name="mim",
            target="rcframe_attacks.mim:MIM",
            summary="Steps along a running sum of gradients, which transfers well (Dong et al., 2018).",
        ),
        Spec(
            kind="attack",
            name="pgd",
            target="rcframe_attacks.pgd:PGD",
            summary="Projected gradient steps with random start and restarts (Madry et al., 2018).",
        ),
        Spec(
            kind="attack",
            name="uniform",
            target="rcframe_attacks.noise:Uniform",
            summary="A random point or corner of the threat: a control.",
        ),
        Spec(
            kind="attack",
            name="gaussian",
            target="rcframe_attacks.noise:Gaussian",
            summary="Normal noise: a control.",
        ),
        Spec(
            kind="attack",
            name="eot",
            target="rcframe_attacks.wrappers:EOT",
            summary="Any attack on the mean answer of a model that answers at random (Athalye et al., 2018).",
        ),
        Spec(
            kind="attack",
            name="transfer",
            target="rcframe_attacks.wrappers:Transfer",
            summary="Any attack, crafted on another network: a twin, the teacher, a file.",
        ),
    ]


@hookimpl
def rcframe_recipes() -> list[Traversable]:
    """Announce the published tables that this plugin repeats."""
    return [files(__name__) / "recipes" / "shallow-curves.toml"]

"""Students that learn from a teacher's answers, for rcframe."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

from rcframe import Spec, hookimpl

#: Names, the classes behind them, and what the students do.
_STUDENTS = (
    ("kd", "kd:KD", "Learns from labels and from the teacher's softened outputs (Hinton et al., 2015)."),
    ("logits", "logits:Logits", "Repeats the teacher's logits, without labels (Ba and Caruana, 2014)."),
    (
        "temperature",
        "temperature:Temperature",
        "Learns the teacher's softened outputs at a temperature of its own of 1.",
    ),
    (
        "adversarial-distill",
        "adversarial:AdversarialDistill",
        "Gives the teacher's answers for images that are crafted against itself (Barmpas, 2020).",
    ),
    ("ard", "ard:ARD", "Gives the teacher's softened outputs on attacked images (Goldblum et al., 2020)."),
    ("rslad", "rslad:RSLAD", "Gives the teacher's outputs on images and on attacked ones (Zi et al., 2021)."),
    ("attention", "attention:Attention", "Looks where the teacher looks (Zagoruyko and Komodakis, 2017)."),
    ("hints", "hints:Hints", "Learns an inner layer of the teacher first, then its outputs (Romero et al., 2015)."),
)

#: Published tables, by the names of their files.
_RECIPES = ("shallow-robust", "shallow-temperature", "shallow-widths")


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings."""
    return [
        Spec(kind="student", name=name, target=f"rcframe_distill.{target}", summary=summary)
        for name, target, summary in _STUDENTS
    ]


@hookimpl
def rcframe_recipes() -> list[Traversable]:
    """Announce the published tables that this plugin repeats."""
    folder = files(__name__) / "recipes"
    return [folder / f"{name}.toml" for name in _RECIPES]

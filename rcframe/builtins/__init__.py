"""What the kernel itself ships, announced like any plugin's components; no method of a paper is among them."""

from __future__ import annotations

from rcframe.data.sources import SPECS as DATA_SPECS
from rcframe.hookspecs import Spec
from rcframe.models import SPECS as MODEL_SPECS

SPECS: tuple[Spec, ...] = (
    *DATA_SPECS,
    *MODEL_SPECS,
    Spec(
        kind="teacher",
        name="plain",
        target="rcframe.builtins.plain:PlainTeacher",
        summary="A network trained on the labels.",
    ),
    Spec(
        kind="teacher",
        name="file",
        target="rcframe.builtins.saved:FileTeacher",
        summary="The run's model with weights from a file.",
    ),
    Spec(
        kind="teacher",
        name="run",
        target="rcframe.builtins.saved:RunTeacher",
        summary="The student of an earlier run.",
    ),
    Spec(
        kind="teacher",
        name="distilled",
        target="rcframe.builtins.distilled:DistilledTeacher",
        summary="The student of another teacher, trained in the same run.",
    ),
    Spec(
        kind="student",
        name="plain",
        target="rcframe.builtins.plain:PlainStudent",
        summary="Learns from the labels alone and never asks the teacher.",
    ),
    Spec(
        kind="engine",
        name="local",
        target="rcframe.experiments.local:LocalEngine",
        summary="Several processes at once on this machine.",
    ),
)

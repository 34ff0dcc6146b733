"""What a run found: numbers with counts, intervals and protocol, as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.radii import Radii
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.networks.size import Size
from rcframe.networks.surgery import PruningReport
from rcframe.session.measurement import (
    Broken as Broken,
    CurvePoint as CurvePoint,
    Json as Json,
    Measurement as Measurement,
    Passes as Passes,
    Protocol as Protocol,
    measurement_of,
)
from rcframe.session.outputs_report import Outputs, outputs_as_json, outputs_from_json

if TYPE_CHECKING:
    from rich.console import Group


#: Version of `report.json`.
FORMAT = 1


@attrs.frozen(kw_only=True)
class ModelReport:
    """What is known about one model: the teacher or the student."""

    component: str
    model: str
    neuron: str | None
    clean: Measurement
    attacked: Mapping[str, Measurement]
    certified: Mapping[str, Measurement]
    size: Size
    #: Certified radii by certifier, where they were searched.
    radii: Mapping[str, Radii] = attrs.field(factory=dict)
    #: What withstood every attack, image by image, where there are several.
    worst_case: Measurement | None = None
    #: The accuracy of what leaves in the place of a guarded teacher's answers. Added in API 1.4.
    released: Measurement | None = None
    #: What the outputs give away. Added in API 1.4.
    outputs: Outputs = attrs.field(factory=Outputs)
    #: Spec strings of the pruners, in the order they worked, and what those that cut did.
    pruners: tuple[str, ...] = ()
    pruned: tuple[PruningReport, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Return the JSON object of this model."""
        return {
            "component": self.component,
            "model": self.model,
            "neuron": self.neuron,
            "pruners": list(self.pruners),
            "clean": self.clean.as_json(),
            "attacked": {spec: measured.as_json() for spec, measured in self.attacked.items()},
            "worst_case": self.worst_case.as_json() if self.worst_case else None,
            "released": self.released.as_json() if self.released else None,
            "certified": {spec: measured.as_json() for spec, measured in self.certified.items()},
            "radii": {spec: attrs.asdict(radii) for spec, radii in self.radii.items()},
            "outputs": outputs_as_json(self.outputs),
            **attrs.asdict(self.size),
            "pruned": [attrs.asdict(report) for report in self.pruned],
        }


@attrs.frozen(kw_only=True)
class Report:
    """The outcome of a run."""

    command: str
    data: str
    access: str
    teacher: ModelReport
    student: ModelReport
    #: What the student asked the teacher.
    queries: Queries
    seed: int
    seconds: float
    device: str
    versions: Mapping[str, str]
    #: Reasons to distrust a figure.
    flags: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        """Return the JSON object of this report."""
        return {
            "format": FORMAT,
            "command": self.command,
            "data": self.data,
            "access": self.access,
            "seed": self.seed,
            "seconds": round(self.seconds, 3),
            "device": self.device,
            "versions": dict(self.versions),
            "flags": list(self.flags),
            **_kinds(self.flags),
            "queries": attrs.asdict(self.queries),
            "teacher": self.teacher.as_json(),
            "student": self.student.as_json(),
        }

    def to_json(self) -> str:
        """Return the text of `report.json`."""
        return json.dumps(self.as_json(), indent=2) + "\n"

    def __rich__(self) -> Group:
        from rcframe.session.tables import report_tables

        return report_tables(self)


def report_of(found: Json) -> Report:
    """Build a report from what `as_json` returned."""
    return Report(
        teacher=_model(found["teacher"]),
        student=_model(found["student"]),
        queries=Queries(**found["queries"]),
        flags=_flags(found),
        **{name: found[name] for name in ("command", "data", "access", "seed", "seconds", "device", "versions")},
    )


def _kinds(flags: Sequence[str]) -> dict[str, object]:
    """Return the kinds of flags beside their sentences, which were alone in older reports."""
    kinds = [str(flag.kind) if isinstance(flag, Flag) else None for flag in flags]
    return {"flag_kinds": kinds} if any(kinds) else {}


def _flags(found: Json) -> tuple[str, ...]:
    sentences = found["flags"]
    kinds = found.get("flag_kinds", [None] * len(sentences))
    # A later version may know more kinds.
    return tuple(
        Flag(Kind(kind), sentence) if kind in list(Kind) else sentence
        for sentence, kind in zip(sentences, kinds, strict=True)
    )


def _model(found: Json) -> ModelReport:
    return ModelReport(
        component=found["component"],
        model=found["model"],
        neuron=found["neuron"],
        pruners=tuple(found["pruners"]),
        clean=measurement_of(found["clean"]),
        attacked={spec: measurement_of(measured) for spec, measured in found["attacked"].items()},
        certified={spec: measurement_of(measured) for spec, measured in found["certified"].items()},
        worst_case=measurement_of(found["worst_case"]) if found.get("worst_case") else None,
        released=measurement_of(found["released"]) if found.get("released") else None,
        outputs=outputs_from_json(found.get("outputs", {})),
        radii={spec: Radii(**radii) for spec, radii in found.get("radii", {}).items()},
        size=_size(found),
        pruned=tuple(_pruning(report) for report in found["pruned"]),
    )


def _size(found: Json) -> Size:
    return Size(**{field.name: found[field.name] for field in attrs.fields(Size)})


def _pruning(found: Json) -> PruningReport:
    kept = {layer: tuple(indices) for layer, indices in found["kept"].items()}
    return PruningReport(kept, _size(found["before"]), _size(found["after"]))

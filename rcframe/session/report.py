"""What a run found: numbers with counts, intervals and protocol, as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from rcframe.api import Norm
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.radii import Radii
from rcframe.networks.size import Size
from rcframe.networks.surgery import PruningReport
from rcframe.options import Number, Value

if TYPE_CHECKING:
    from rich.table import Table


#: Version of `report.json`.
FORMAT = 1


@attrs.frozen(kw_only=True)
class Protocol:
    """How a robust figure was measured; it stands beside the figure wherever that goes."""

    norm: Norm
    eps: Number
    options: Mapping[str, Value]
    seed: int
    #: The plugin that measured, and its version.
    plugin: str
    version: str


@attrs.frozen
class Measurement:
    """An accuracy, with the protocol and the queries of the attack or certifier that measured it."""

    result: Accuracy
    protocol: Protocol | None = None
    queries: Queries | None = None

    @property
    def accuracy(self) -> float:
        """The fraction of images that is right."""
        return self.result.value

    @property
    def n(self) -> int:
        """How many images were measured."""
        return self.result.n

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.result.interval[0]

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.result.interval[1]

    def as_json(self) -> dict[str, object]:
        """Return the JSON object of this measurement."""
        written: dict[str, object] = {"accuracy": self.accuracy, "n": self.n, "low": self.low, "high": self.high}
        if self.protocol:
            written |= {
                "norm": self.protocol.norm,
                "eps": str(self.protocol.eps),
                "options": {name: _plain(value) for name, value in self.protocol.options.items()},
                "seed": self.protocol.seed,
                "plugin": self.protocol.plugin,
                "version": self.protocol.version,
            }
        if self.queries:
            written["queries"] = attrs.asdict(self.queries)
        return written


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
            "certified": {spec: measured.as_json() for spec, measured in self.certified.items()},
            "radii": {spec: attrs.asdict(radii) for spec, radii in self.radii.items()},
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
            "queries": attrs.asdict(self.queries),
            "teacher": self.teacher.as_json(),
            "student": self.student.as_json(),
        }

    def to_json(self) -> str:
        """Return the text of `report.json`."""
        return json.dumps(self.as_json(), indent=2) + "\n"

    def __rich__(self) -> Table:
        from rcframe.session.tables import report_table

        return report_table(self)


#: What json.loads gives; every use below fails on a wrong type.
Json = Mapping[str, Any]


def report_of(found: Json) -> Report:
    """Build a report from what `as_json` returned."""
    return Report(
        teacher=_model(found["teacher"]),
        student=_model(found["student"]),
        queries=Queries(**found["queries"]),
        flags=tuple(found["flags"]),
        **{name: found[name] for name in ("command", "data", "access", "seed", "seconds", "device", "versions")},
    )


def _model(found: Json) -> ModelReport:
    return ModelReport(
        component=found["component"],
        model=found["model"],
        neuron=found["neuron"],
        pruners=tuple(found["pruners"]),
        clean=_measurement(found["clean"]),
        attacked={spec: _measurement(measured) for spec, measured in found["attacked"].items()},
        certified={spec: _measurement(measured) for spec, measured in found["certified"].items()},
        radii={spec: Radii(**radii) for spec, radii in found.get("radii", {}).items()},
        size=_size(found),
        pruned=tuple(_pruning(report) for report in found["pruned"]),
    )


def _measurement(found: Json) -> Measurement:
    protocol = None
    if "norm" in found:
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in found["options"].items()}
        named = {name: found[name] for name in ("norm", "seed", "plugin", "version")}
        protocol = Protocol(eps=Number(found["eps"]), options=options, **named)
    return Measurement(
        Accuracy(round(found["accuracy"] * found["n"]), found["n"]),
        protocol,
        Queries(**found["queries"]) if "queries" in found else None,
    )


def _size(found: Json) -> Size:
    return Size(**{field.name: found[field.name] for field in attrs.fields(Size)})


def _pruning(found: Json) -> PruningReport:
    kept = {layer: tuple(indices) for layer, indices in found["kept"].items()}
    return PruningReport(kept, _size(found["before"]), _size(found["after"]))


def _plain(value: Value) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Number) else value

"""A figure of a report: an accuracy with its interval, its protocol, and what else was counted on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from rcframe.api import Norm
from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.options import Number, Value

#: What json.loads gives; every use below fails on a wrong type.
Json = Mapping[str, Any]


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
class Broken:
    """The images that were right before an attack and are wrong now, and how far these were moved on average."""

    n: int
    #: None where no image was broken.
    linf: float | None = None
    l2: float | None = None


@attrs.frozen
class Passes:
    """Images that went forward and backward through the network crafted on, for each image that was attacked."""

    forward: float
    backward: float


@attrs.frozen
class CurvePoint:
    """The accuracy at one radius."""

    eps: Number
    result: Accuracy


@attrs.frozen
class Measurement:
    """An accuracy, with the protocol and the queries of the attack or certifier that measured it."""

    result: Accuracy
    protocol: Protocol | None = None
    queries: Queries | None = None
    #: The same for the images of each class, by its name.
    by_class: Mapping[str, Accuracy] = attrs.field(factory=dict, kw_only=True)
    broken: Broken | None = attrs.field(default=None, kw_only=True)
    passes: Passes | None = attrs.field(default=None, kw_only=True)
    faults: Faults | None = attrs.field(default=None, kw_only=True)
    #: The accuracy at every radius of the run where there are several; the last one is this figure.
    curve: tuple[CurvePoint, ...] = attrs.field(default=(), kw_only=True)
    #: What the curve asked besides the measurement at its largest radius.
    curve_queries: Queries | None = attrs.field(default=None, kw_only=True)

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
        """Return the JSON object of this measurement; what was not counted is left out."""
        written = accuracy_as_json(self.result)
        if self.protocol:
            written |= {
                "norm": self.protocol.norm,
                "eps": str(self.protocol.eps),
                "options": {name: _plain(value) for name, value in self.protocol.options.items()},
                "seed": self.protocol.seed,
                "plugin": self.protocol.plugin,
                "version": self.protocol.version,
            }
        for name in ("queries", "broken", "passes", "faults", "curve_queries"):
            if (counted := getattr(self, name)) is not None:
                written[name] = attrs.asdict(counted)
        if self.by_class:
            written["by_class"] = {name: attrs.asdict(result) for name, result in self.by_class.items()}
        if self.curve:
            written["curve"] = [{"eps": str(point.eps), **accuracy_as_json(point.result)} for point in self.curve]
        return written


def accuracy_as_json(result: Accuracy) -> dict[str, object]:
    """Return the JSON object of a fraction of images."""
    low, high = result.interval
    return {"accuracy": result.value, "n": result.n, "low": low, "high": high}


def measurement_of(found: Json) -> Measurement:
    """Build a measurement from what `as_json` returned, now or before some of it was counted."""
    return Measurement(
        accuracy_of(found),
        _protocol_of(found) if "norm" in found else None,
        Queries(**found["queries"]) if "queries" in found else None,
        by_class={name: Accuracy(**result) for name, result in found.get("by_class", {}).items()},
        broken=Broken(**found["broken"]) if "broken" in found else None,
        passes=Passes(**found["passes"]) if "passes" in found else None,
        faults=Faults(**found["faults"]) if "faults" in found else None,
        curve=tuple(CurvePoint(Number(point["eps"]), accuracy_of(point)) for point in found.get("curve", ())),
        curve_queries=Queries(**found["curve_queries"]) if "curve_queries" in found else None,
    )


def accuracy_of(found: Json) -> Accuracy:
    """Build a fraction of images from its JSON object."""
    return Accuracy(round(found["accuracy"] * found["n"]), found["n"])


def _protocol_of(found: Json) -> Protocol:
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in found["options"].items()}
    named = {name: found[name] for name in ("norm", "seed", "plugin", "version")}
    return Protocol(eps=Number(found["eps"]), options=options, **named)


def _plain(value: Value) -> object:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Number) else value

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol as Typed

import pytest

from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.networks.size import Size
from rcframe.networks.surgery import PruningReport
from rcframe.options import Number, Value
from rcframe.session.report import Measurement, ModelReport, Protocol, Report

N = 8


class MakeReport(Typed):
    """Makes the report of one seed: how many of 8 images teacher and student get right, clean and attacked."""

    def __call__(
        self,
        seed: int = 0,
        *,
        clean: int = 6,
        attacked: int = 2,
        flags: tuple[str, ...] = (),
        spec: str = "pgd:steps=3",
    ) -> Report: ...


def robust(right: int, seed: int, options: Mapping[str, Value], queries: Queries | None) -> Measurement:
    protocol = Protocol(
        norm="linf", eps=Number("8/255"), options=options, seed=seed, plugin="rcframe-attacks", version="1.2"
    )
    return Measurement(Accuracy(right, N), protocol, queries)


@pytest.fixture
def make_report() -> MakeReport:
    """Reports with everything that a report can have."""

    def model(name: str, clean: int, attacked: int, seed: int, spec: str) -> ModelReport:
        options: Mapping[str, Value] = {"steps": 3, "layers": ("a", "b"), "start": None}
        smaller = PruningReport({"conv1": (0, 2)}, Size(40, 40, 160), Size(20, 18, 80))
        return ModelReport(
            component=name,
            model="convnet",
            neuron="lif:steps=2" if name == "kd" else None,
            clean=Measurement(Accuracy(clean, N)),
            attacked={spec: robust(attacked, seed, options, Queries(70, 60, 7))},
            certified={"convex": robust(1, seed, {}, None)},
            size=Size(20, 18, 80),
            pruners=("filters",) if name == "kd" else (),
            pruned=(smaller,) if name == "kd" else (),
        )

    def make(
        seed: int = 0, *, clean: int = 6, attacked: int = 2, flags: tuple[str, ...] = (), spec: str = "pgd:steps=3"
    ) -> Report:
        return Report(
            command="rcframe run words",
            data="digits",
            access="logit",
            teacher=model("plain", min(clean + 1, N), attacked, seed, spec),
            student=model("kd", clean, attacked, seed, spec),
            queries=Queries(1234, 0, 20),
            seed=seed,
            seconds=1.25,
            device="cpu",
            versions={"python": "3.11"},
            flags=flags,
        )

    return make

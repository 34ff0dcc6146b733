from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.radii import Radii
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.networks.size import Size
from rcframe.networks.surgery import PruningReport
from rcframe.options import Number, Value
from rcframe.session.report import Measurement, ModelReport, Protocol, Report, report_of

PGD = "pgd:steps=7"
CONVEX = "convex"
OPTIONS: Mapping[str, Value] = {"steps": 7, "step_size": Number("2/255"), "layers": ("a", "b"), "start": None}


def protocol(**changes: Any) -> Protocol:
    return Protocol(
        **{
            "norm": "linf",
            "eps": Number("8/255"),
            "options": OPTIONS,
            "seed": 5,
            "plugin": "rcframe-attacks",
            "version": "1.2",
            **changes,
        }
    )


def model(correct: int, neuron: str | None = None, pruned: tuple[PruningReport, ...] = ()) -> ModelReport:
    return ModelReport(
        component="kd then plain",
        model="convnet",
        neuron=neuron,
        clean=Measurement(Accuracy(correct, 10)),
        attacked={PGD: Measurement(Accuracy(1, 10), protocol(), Queries(70, 60, 7))},
        certified={CONVEX: Measurement(Accuracy(0, 10), protocol(plugin="rcframe-convex"))},
        size=Size(1000 * correct, 900 * correct, 4000 * correct),
        radii={CONVEX: Radii(0.02, 0.01, 0.03, 5)},
        pruned=pruned,
    )


def report(flags: tuple[str, ...] = ("beware of the dog",)) -> Report:
    removed = PruningReport({"conv1": (0, 2)}, Size(4, 4, 16), Size(2, 2, 8))
    return Report(
        command="rcframe run",
        data="digits",
        access="logit",
        teacher=model(9),
        student=model(8, "lif:steps=4", (removed,)),
        queries=Queries(1234, 0, 20),
        seed=5,
        seconds=1.23456,
        device="cpu",
        versions={"python": "3.11"},
        flags=flags,
    )


def test_a_report_says_everything_in_json() -> None:
    written = json.loads(report().to_json())
    assert list(written) == [
        *("format", "command", "data", "access", "seed", "seconds", "device", "versions", "flags", "queries"),
        *("teacher", "student"),
    ]
    assert {name: written[name] for name in ("format", "command", "seed", "seconds", "device")} == {
        "format": 1,
        "command": "rcframe run",
        "seed": 5,
        "seconds": 1.235,
        "device": "cpu",
    }
    assert written["versions"] == {"python": "3.11"}
    assert written["flags"] == ["beware of the dog"]
    assert written["queries"] == {"images": 1234, "gradient_images": 0, "calls": 20}


@pytest.mark.parametrize(("role", "correct"), [("teacher", 9), ("student", 8)])
def test_both_models_are_told_with_their_figures_and_sizes(role: str, correct: int) -> None:
    told = json.loads(report().to_json())[role]
    low, high = Accuracy(correct, 10).interval
    assert told["clean"] == {"accuracy": correct / 10, "n": 10, "low": low, "high": high}
    assert {name: told[name] for name in ("parameters", "nonzero", "bytes")} == {
        "parameters": 1000 * correct,
        "nonzero": 900 * correct,
        "bytes": 4000 * correct,
    }
    assert set(told["attacked"]) == {PGD}
    assert set(told["certified"]) == {CONVEX}


def test_the_protocol_stands_beside_every_robust_figure() -> None:
    told = json.loads(report().to_json())["student"]
    attacked, certified = told["attacked"][PGD], told["certified"][CONVEX]
    low, high = Accuracy(1, 10).interval
    shared = {"norm": "linf", "eps": "8/255", "seed": 5, "version": "1.2", "n": 10}
    options = {"steps": 7, "step_size": "2/255", "layers": ["a", "b"], "start": None}
    queries = {"images": 70, "gradient_images": 60, "calls": 7}
    assert attacked == {
        **shared,
        "accuracy": 0.1,
        "low": low,
        "high": high,
        "options": options,
        "plugin": "rcframe-attacks",
        "queries": queries,
    }
    assert {name: certified[name] for name in (*shared, "plugin")} == {**shared, "plugin": "rcframe-convex"}
    assert "queries" not in certified


def test_certified_radii_are_told() -> None:
    told = json.loads(report().to_json())["student"]
    assert told["radii"] == {CONVEX: {"mean": 0.02, "median": 0.01, "std": 0.03, "n": 5}}


def test_a_report_is_read_back_as_it_was_written() -> None:
    whole = report()
    again = report_of(json.loads(whole.to_json()))
    assert again.to_json() == whole.to_json()
    assert again.student.radii == whole.student.radii == {CONVEX: Radii(0.02, 0.01, 0.03, 5)}


def test_flags_keep_their_kinds() -> None:
    whole = report((Flag(Kind.FEW_IMAGES, "too few"), "beware of the dog"))
    written = json.loads(whole.to_json())
    assert (written["flags"], written["flag_kinds"]) == (["too few", "beware of the dog"], ["few images", None])
    few, dog = report_of(written).flags
    assert isinstance(few, Flag)
    assert few.kind is Kind.FEW_IMAGES
    assert not isinstance(dog, Flag)


def test_flags_of_kinds_that_are_not_known_yet_or_were_not_written_are_sentences() -> None:
    written = json.loads(report((Flag(Kind.FEW_IMAGES, "too few"),)).to_json())
    for changed in ({**written, "flag_kinds": ["of 2031"]}, {k: v for k, v in written.items() if k != "flag_kinds"}):
        (flag,) = report_of(changed).flags
        assert (flag, type(flag)) == ("too few", str)


def test_a_report_from_before_there_were_radii_is_read() -> None:
    written = json.loads(report().to_json())
    del written["teacher"]["radii"]
    assert report_of(written).teacher.radii == {}
    assert report_of(written).student.radii == report().student.radii


def test_neurons_and_pruning_are_told() -> None:
    written = json.loads(report().to_json())
    assert written["teacher"]["neuron"] is None
    assert written["teacher"]["pruned"] == []
    assert written["student"]["neuron"] == "lif:steps=4"
    small = {"parameters": 2, "nonzero": 2, "bytes": 8}
    assert written["student"]["pruned"] == [
        {"kept": {"conv1": [0, 2]}, "before": {"parameters": 4, "nonzero": 4, "bytes": 16}, "after": small}
    ]


def test_the_json_ends_with_a_line_end() -> None:
    assert report().to_json().endswith("}\n")


def test_a_report_prints_itself_as_a_table() -> None:
    stream = io.StringIO()
    Console(width=120, file=stream).print(report())
    assert "student: kd then plain" in stream.getvalue()

from __future__ import annotations

import json

import pytest

from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.options import Number
from rcframe.session.measurement import Broken, CurvePoint, Measurement, Passes, Protocol, measurement_of

FULL = Measurement(
    Accuracy(3, 10),
    Protocol(norm="l2", eps=Number("8/255"), options={"layers": ("a", "b")}, seed=1, plugin="p", version="1"),
    Queries(50, 40, 2),
    by_class={"cat": Accuracy(1, 4), "dog": Accuracy(2, 6)},
    broken=Broken(5, 0.01, 0.2),
    passes=Passes(6.25, 5.0),
    faults=Faults(1, 2),
    curve=(CurvePoint(Number("0"), Accuracy(8, 10)), CurvePoint(Number("8/255"), Accuracy(3, 10))),
    curve_queries=Queries(70, 60, 3),
)


def test_everything_is_told() -> None:
    told = json.loads(json.dumps(FULL.as_json()))
    low, high = Accuracy(8, 10).interval
    assert told["by_class"] == {"cat": {"correct": 1, "n": 4}, "dog": {"correct": 2, "n": 6}}
    assert told["broken"] == {"n": 5, "linf": 0.01, "l2": 0.2}
    assert told["passes"] == {"forward": 6.25, "backward": 5.0}
    assert told["faults"] == {"outside": 1, "broken": 2}
    assert told["curve"][0] == {"eps": "0", "accuracy": 0.8, "n": 10, "low": low, "high": high}
    assert [point["eps"] for point in told["curve"]] == ["0", "8/255"]
    assert told["curve_queries"] == {"images": 70, "gradient_images": 60, "calls": 3}


@pytest.mark.parametrize("measurement", [FULL, Measurement(Accuracy(1, 3))], ids=["full", "bare"])
def test_a_measurement_is_read_back_as_it_was_written(measurement: Measurement) -> None:
    again = measurement_of(json.loads(json.dumps(measurement.as_json())))
    assert again == measurement
    assert [str(point.eps) for point in again.curve] == [str(point.eps) for point in measurement.curve]


def test_a_measurement_from_before_there_were_curves_is_read() -> None:
    written = FULL.as_json()
    for name in ("by_class", "broken", "passes", "faults", "curve", "curve_queries"):
        del written[name]
    assert measurement_of(written) == Measurement(FULL.result, FULL.protocol, FULL.queries)


def test_what_was_not_counted_is_left_out() -> None:
    assert set(Measurement(Accuracy(1, 3)).as_json()) == {"accuracy", "n", "low", "high"}
    assert Measurement(Accuracy(1, 3), broken=Broken(0)).as_json()["broken"] == {"n": 0, "linf": None, "l2": None}

from __future__ import annotations

import io

from rich.console import Console

from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.radii import Radii
from rcframe.networks.size import Size
from rcframe.options import Number
from rcframe.session.report import Measurement, ModelReport, Protocol, Report
from rcframe.session.tables import report_table


def measured(correct: int, plugin: str) -> Measurement:
    protocol = Protocol(norm="l2", eps=Number("1/2"), options={}, seed=0, plugin=plugin, version="1")
    return Measurement(Accuracy(correct, 200), protocol)


def model(component: str, correct: int, neuron: str | None = None) -> ModelReport:
    return ModelReport(
        component=component,
        model="mlp",
        neuron=neuron,
        clean=Measurement(Accuracy(correct, 200)),
        attacked={"pgd": measured(correct // 2, "a"), "fgsm": measured(correct // 4, "a")},
        certified={"convex": measured(correct // 10, "b")},
        radii={"convex": Radii(correct / 1000, correct / 2000, 0.1, 50)},
        size=Size(1_234_567, 1000 + correct, 4_938_268),
    )


def lines(width: int = 140) -> list[str]:
    report = Report(
        command="",
        data="digits",
        access="soft",
        teacher=model("nasty", 200),
        student=model("kd", 100, "lif"),
        queries=Queries(5000, 0, 40),
        seed=3,
        seconds=12.7,
        device="cpu",
        versions={},
        flags=("one", "two"),
    )
    stream = io.StringIO()
    Console(file=stream, width=width).print(report_table(report))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def row(start: str) -> list[str]:
    (found,) = [line for line in lines() if line.strip().startswith("│") and line.strip("│ ").startswith(start)]
    return [cell.strip() for cell in found.strip("│").split("│")]


def test_teacher_and_student_stand_side_by_side() -> None:
    header = next(line for line in lines() if "teacher:" in line)
    assert header.index("teacher: nasty") < header.index("student: kd")
    assert row("model") == ["model", "mlp", "mlp, lif"]
    assert row("clean") == ["clean", "100.0 [98.1, 100.0]", "50.0 [43.1, 56.9]"]


def test_every_robust_figure_stands_with_norm_and_eps() -> None:
    assert row("pgd") == ["pgd (l2, eps 1/2)", "50.0 [43.1, 56.9]", "25.0 [19.5, 31.4]"]
    assert row("fgsm")[1:] == ["25.0 [19.5, 31.4]", "12.5 [8.6, 17.8]"]
    assert row("certified") == ["certified by convex (l2, eps 1/2)", "10.0 [6.6, 14.9]", "5.0 [2.7, 9.0]"]


def test_certified_radii_stand_with_their_number() -> None:
    assert row("radius") == [
        "radius certified by convex, mean (median)",
        "0.2 (0.1), n = 50",
        "0.1 (0.05), n = 50",
    ]


def test_sizes_are_written_with_separators() -> None:
    assert row("parameters") == ["parameters", "1,234,567", "1,234,567"]
    assert row("of them") == ["of them non-zero", "1,200", "1,100"]
    assert row("bytes") == ["bytes", "4,938,268", "4,938,268"]


def test_what_was_measured_is_said_around_the_table() -> None:
    text = "\n".join(line.strip() for line in lines())
    assert "digits, seed 3, 13 s on cpu" in text
    assert "n = 200" in text
    assert "The student asked the teacher about 5,000 images (soft access)." in text
    assert "Beware: one" in text
    assert "Beware: two" in text


def test_the_settings_of_every_robust_figure_stand_below_the_table() -> None:
    below = "\n".join(lines(width=200))
    assert "pgd: seed 0 (a 1)" in below
    assert "convex: seed 0 (b 1)" in below

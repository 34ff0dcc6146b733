from __future__ import annotations

import io
import itertools

import attrs
from hypothesis import given, strategies as st
from rich.console import Console

from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.radii import Radii
from rcframe.networks.size import Size
from rcframe.options import Number
from rcframe.session.report import CurvePoint, Measurement, ModelReport, Protocol, Report
from rcframe.session.tables import curves_table, evenly_with_ends, report_table


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


def report() -> Report:
    return Report(
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


def lines(width: int = 140) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(report_table(report()))
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


def curve(correct: int, count: int = 3) -> tuple[CurvePoint, ...]:
    """A curve that falls by ten images from point to point."""
    return tuple(CurvePoint(Number(f"{n}/255"), Accuracy(max(correct - 10 * n, 0), 200)) for n in range(count))


def with_curves(count: int = 3) -> Report:
    def bent(model: ModelReport, correct: int) -> ModelReport:
        attacked = {
            spec: attrs.evolve(measured, curve=curve(correct - 20 * number, count))
            for number, (spec, measured) in enumerate(model.attacked.items())
        }
        worst = Measurement(Accuracy(correct // 8, 200), curve=curve(correct - 40, count))
        return attrs.evolve(model, attacked=attacked, worst_case=worst)

    whole = report()
    return attrs.evolve(whole, teacher=bent(whole.teacher, 200), student=bent(whole.student, 100))


def printed(what: Report, width: int = 80) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(what)
    return [line.strip() for line in stream.getvalue().splitlines()]


def cells(lines: list[str], start: str) -> list[str]:
    (found,) = [line for line in lines if line.startswith("│") and line.strip("│ ").startswith(start)]
    return [cell.strip() for cell in found.strip("│").split("│")]


def test_the_worst_case_stands_below_the_attacks() -> None:
    lines = printed(with_curves(), 140)
    assert cells(lines, "worst case of these") == ["worst case of these", "12.5 [8.6, 17.8]", "6.0 [3.5, 10.2]"]
    places = [
        next(i for i, line in enumerate(lines) if words in line) for words in ("fgsm (", "worst case", "certified")
    ]
    assert places == sorted(places)


def test_curves_stand_in_a_table_of_their_own_teacher_and_student_in_one_cell() -> None:
    lines = printed(with_curves())
    header = next(line for line in lines if "eps" in line and "┃" in line and "pgd" in line)
    assert [cell.strip() for cell in header.strip("┃").split("┃")] == ["eps", "pgd", "fgsm", "worst case"]
    below = [line for line in lines if line.startswith("│") and "|" in line]
    assert [cell.strip() for cell in below[1].strip("│").split("│")] == [
        "1/255",
        "95.0 | 45.0",
        "85.0 | 35.0",
        "75.0 | 25.0",
    ]
    assert len(below) == 3


def test_a_long_curve_is_thinned_out_evenly_and_says_so() -> None:
    lines = printed(with_curves(101), 100)
    below = [line for line in lines if line.startswith("│") and "|" in line]
    shown = [int(line.strip("│ ").split("/")[0]) for line in below]
    assert (len(shown), shown[0], shown[-1]) == (25, 0, 100)
    assert {after - before for before, after in itertools.pairwise(shown)} <= {4, 5}
    assert "25 of 101 radii are shown" in " ".join(lines)
    assert "radii are shown" not in " ".join(printed(with_curves(25)))


def test_without_curves_there_is_one_table() -> None:
    assert curves_table(report()) is None
    assert not any("Accuracy against eps" in line for line in printed(report()))


@given(st.integers(1, 600), st.integers(2, 40))
def test_thinned_places_are_few_different_and_reach_both_ends(count: int, most: int) -> None:
    places = evenly_with_ends(count, most)
    assert len(places) == min(count, most)
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, count - 1)

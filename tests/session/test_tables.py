from __future__ import annotations

import io

import attrs
import pytest
import torch
from rich.console import Console

from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.radii import Radii
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.networks.size import Size
from rcframe.options import Number
from rcframe.session.outputs_report import Outputs
from rcframe.session.report import Measurement, ModelReport, Protocol, Report
from rcframe.session.seeds import SeedsReport


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
    Console(file=stream, width=width).print(report())
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


def test_a_long_model_is_shortened_and_a_short_one_is_not() -> None:
    deep = "headed:model=(convnet:width=1.0,channels=16+16+32),tap=auto,deeper=auto,head=separable"
    edge = "wideresnet:depth=16,width=4,dropout=0.25"
    assert len(edge) == 40
    whole = report()
    teacher, student = attrs.evolve(whole.teacher, model=deep), attrs.evolve(whole.student, model=edge)
    stream = io.StringIO()
    Console(file=stream, width=200).print(attrs.evolve(whole, teacher=teacher, student=student))
    (line,) = [line for line in stream.getvalue().splitlines() if line.startswith("│ model")]
    assert [cell.strip() for cell in line.split("│")[2:4]] == [
        "headed:model=(convnet:width=1.0,channel…",
        "wideresnet:depth=16,width=4,dropout=0.25, lif",
    ]
    assert teacher.as_json()["model"] == deep


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


def widely(what: Report | SeedsReport, width: int = 80) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=width).print(what)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def with_long_names() -> Report:
    def renamed(model: ModelReport) -> ModelReport:
        spec = "transfer:attack=mim,source=student,restarts=10"
        return attrs.evolve(model, component="adversarial:inner=pgd,steps=7,eps=8/255", attacked={spec: model.clean})

    whole = report()
    return attrs.evolve(whole, teacher=renamed(whole.teacher), student=renamed(whole.student))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_long_names_are_folded_and_neither_cut_nor_do_they_break_a_figure(width: int) -> None:
    lines = widely(with_long_names(), width)
    assert max(map(len, lines)) <= width
    shown = "\n".join(lines)
    assert "…" not in shown
    assert "100.0 [98.1, 100.0]" in shown
    rows = [line.replace("┃", "│").strip("│").split("│") for line in lines if line.startswith(("│", "┃"))]
    columns = [[cell.strip() for cell in row] for row in rows]
    first, teacher, student = ("".join(cells).replace(" ", "") for cells in zip(*columns, strict=True))
    assert "transfer:attack=mim,source=student,restarts=10" in first
    assert teacher.startswith("teacher:adversarial:inner=pgd,steps=7,eps=8/255")
    assert student.startswith("student:adversarial:inner=pgd,steps=7,eps=8/255")


def test_the_worst_case_stands_below_the_attacks() -> None:
    def with_worst(model: ModelReport) -> ModelReport:
        return attrs.evolve(model, worst_case=Measurement(Accuracy(25, 200)))

    whole = report()
    shown = widely(attrs.evolve(whole, teacher=with_worst(whole.teacher), student=with_worst(whole.student)), 140)
    names = [line.strip("│").split("│")[0].strip() for line in shown if line.startswith("│")]
    assert names[1:6] == [
        "clean",
        "pgd (l2, eps 1/2)",
        "fgsm (l2, eps 1/2)",
        "worst case of these",
        "certified by convex (l2, eps 1/2)",
    ]
    assert sum("12.5 [8.6, 17.8]" in line for line in shown if "worst case" in line) == 1


def test_options_that_are_none_or_empty_are_left_out_below_the_table() -> None:
    protocol = Protocol(
        norm="l2",
        eps=Number("1/2"),
        options={"steps": 0, "step_size": None, "layers": (), "target": "none", "early": False},
        seed=0,
        plugin="a",
        version="1",
    )
    whole = report()
    model = attrs.evolve(whole.student, attacked={"pgd": Measurement(Accuracy(1, 200), protocol)}, certified={})
    shown = widely(attrs.evolve(whole, teacher=model, student=model))
    assert "pgd: steps 0, early false, seed 0 (a 1)" in shown


def test_what_speaks_against_a_figure_is_listed_at_the_end_by_its_kind() -> None:
    flags = Flag(Kind.MORE_EFFORT, "twice the steps of pgd break 3 more of 32"), "read from a file"
    shown = widely(attrs.evolve(report(), flags=flags))
    assert shown[-3:] == [
        "* Beware (more effort helps): twice the steps of pgd break 3 more of 32",
        "* Beware: read from a file",
        "docs/trust.md says what to do about each.",
    ]


def test_long_warnings_are_aligned_left_below_their_first_word() -> None:
    shown = widely(attrs.evolve(report(), flags=("many words " * 12,)), 60)
    start = next(place for place, line in enumerate(shown) if line.startswith("* Beware: many"))
    rest = shown[start + 1 : -1]
    assert len(rest) >= 2
    assert all(line.startswith("  ") and line[2] != " " for line in rest)


def test_where_nothing_speaks_against_a_figure_nothing_is_said() -> None:
    assert not any("trust.md" in line or "Beware" in line for line in widely(attrs.evolve(report(), flags=())))


# -- outputs ----------------------------------------------------------------------------------------------------------


def answering() -> Report:
    """A report of networks that answered: the student agrees in 3 of 4, and the teacher releases the wrong class."""
    labels = torch.tensor([0, 1, 1, 0])
    teacher = torch.tensor([[4.0, 0.0], [0.0, 4.0], [0.0, 4.0], [4.0, 0.0]])
    student = torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [4.0, 0.0]])
    whole = report()
    of_teacher = Outputs(calibration=Calibration.of(teacher, labels, 0))
    of_student = Outputs(calibration=Calibration.of(student, labels, 0), likeness=Likeness.of(student, teacher, labels))
    return attrs.evolve(
        whole,
        teacher=attrs.evolve(whole.teacher, outputs=of_teacher, released=Measurement(Accuracy(50, 200))),
        student=attrs.evolve(whole.student, outputs=of_student),
    )


def test_agreement_and_calibration_stand_below_the_accuracies() -> None:
    drawn = [line.strip("│").split("│") for line in widely(answering(), 140) if line.startswith("│")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in drawn if len(row) == 3}
    assert cells["agrees with teacher"] == ["", "75.0 [30.1, 95.4]"]
    assert cells["clean, as released"] == ["25.0 [19.5, 31.4]", ""]
    # Both say 98.2% of everything: the teacher is right in all of it, the student in three of four.
    assert [cell.split()[0] for cell in cells["calibration error"]] == ["1.8", "23.2"]
    names = list(cells)
    assert names.index("certified by convex (l2, eps 1/2)") < names.index("agrees with teacher")
    assert names.index("calibration error") < names.index("parameters")


def test_what_chance_makes_of_calibration_is_said_below() -> None:
    said = " ".join(line.strip() for line in widely(answering(), 300))
    outputs = [answering().teacher.outputs.calibration, answering().student.outputs.calibration]
    chances = " and ".join(f"{100 * one.by_chance:.1f}" for one in outputs if one)
    assert f"calibrated perfectly, these networks would show {chances} (docs/secrecy.md)." in said
    assert "alibration" not in "".join(widely(report()))


@pytest.mark.parametrize("width", [60, 80])
def test_outputs_keep_the_table_narrow(width: int) -> None:
    assert max(map(len, widely(answering(), width))) <= width


def test_over_seeds_agreement_and_calibration_have_their_spreads() -> None:
    seeds = SeedsReport("rcframe run --seeds 2", (answering(), attrs.evolve(answering(), seed=4)))
    drawn = [line.strip("│").split("│") for line in widely(seeds, 160) if line.startswith("│")]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in drawn if len(row) == 3}
    assert cells["agrees with teacher"] == ["", "75.0 ± 0.0 [30.1, 95.4]"]
    assert cells["clean, as released"] == ["25.0 ± 0.0 [19.5, 31.4]", ""]
    assert [cell.split()[0] for cell in cells["calibration error"]] == ["1.8", "23.2"]
    assert seeds.student()["agreement"].values == (0.75, 0.75)
    assert "agreement" not in seeds.teacher()


def monotonous(seed: int = 3) -> Report:
    """A report of a teacher that names one class for all images, and of a student that does so too."""
    labels, outputs = torch.tensor([0, 1, 1, 0]), torch.tensor([[4.0, 0.0]]).repeat(4, 1)
    likeness = Outputs(likeness=Likeness.of(outputs, outputs, labels))
    return attrs.evolve(report(), seed=seed, student=attrs.evolve(report().student, outputs=likeness))


def test_agreement_on_one_class_is_remarked_on_below_the_table() -> None:
    said = "would agree on 100.0% of the images: agreement is no sign of imitation"
    assert said in " ".join(widely(monotonous(), 300))
    over_seeds = " ".join(widely(SeedsReport("", (monotonous(), monotonous(4))), 300))
    assert "In 2 of 2 runs a student that always names the class which the teacher names most" in over_seeds
    assert "imitation" not in " ".join(widely(report(), 300))

"""docs/secrecy.md shows what works, and names what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rcframe.evaluation.calibration import BINS, RESAMPLES
from rcframe.evaluation.softness import PEAK
from rcframe.experiments.matrix_file import read_matrix_file
from rcframe.experiments.plan import make_plan
from rcframe.findings.figures import figures, parse_about
from rcframe.session.outputs import TEMPERATURE, temperature_of
from tests.findings.folders_made import Made
from tests.findings.outputs_made import answered, logits
from tests.test_readme import FEW, Shell

#: Figures that are explained elsewhere.
ELSEWHERE = ("clean", "parameters", "nonzero", "bytes")
ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "secrecy.md").read_text(encoding="utf-8")


def commands(marker: str) -> list[str]:
    """The indented lines behind a marker."""
    block = GUIDE.split(f"<!-- {marker} -->")[1].lstrip("\n").split("\n\n")[0]
    return [line.strip() for line in block.splitlines()]


def fewer(command: str) -> str:
    """The command with fewer epochs."""
    short = command.replace("epochs=10", "epochs=2").replace("adversary_epochs=5", "adversary_epochs=2")
    return (
        re.sub(r"--teacher nasty ", "--teacher nasty:epochs=2,adversary_epochs=2 ", short)
        .replace("--student kd", "--student kd:epochs=2")
        .replace("kd:epochs=2:epochs=2", "kd:epochs=2")
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", commands("ask"))
def test_the_commands_show_agreement_and_calibration(command: str, user: Shell, tmp_path: Path) -> None:
    shown = user(fewer(command), tmp_path, **FEW)
    assert "agrees with teacher" in shown
    assert "calibration error" in shown


def test_the_example_tries_every_way_of_learning_against_every_way_of_answering() -> None:
    plan = make_plan(read_matrix_file(ROOT / "examples" / "secrecy.toml"))
    assert not [run.refusal for run in plan.runs if run.refusal]
    assert {run.config.seed for run in plan.runs} == {0, 1, 2}
    temperatures = {temperature_of(run.parts) for run in plan.runs}
    assert len(temperatures) == 1
    assert sum(run.name.endswith("labels alone") for run in plan.runs) == 9


@pytest.mark.slow
def test_the_example_is_carried_out_and_reported(user: Shell, tmp_path: Path) -> None:
    matrix, report, compare = commands("release")
    example = (ROOT / "examples" / "secrecy.toml").read_text(encoding="utf-8")
    (tmp_path / "examples").mkdir()
    shorter = re.sub(r"epochs=\d+", "epochs=1", example).replace("seeds = 3", "seeds = 1")
    (tmp_path / "examples" / "secrecy.toml").write_text(shorter, encoding="utf-8")
    assert "nasty and stingy" in user(matrix, tmp_path)
    user(report, tmp_path)
    assert "nasty and stingy" in (tmp_path / "copied" / "report" / "report.html").read_text(encoding="utf-8")
    shown = user(compare, tmp_path)
    for words in ("row `nasty, kd`", "row `nasty, labels alone`", "B - A", "student clean"):
        assert words in shown


@pytest.mark.slow
def test_a_student_copies_from_classes_alone(user: Shell, tmp_path: Path) -> None:
    (command,) = commands("classes")
    shown = user(command.replace("epochs=20", "epochs=2"), tmp_path, **FEW)
    assert "asked the teacher about 3,000 images (hard access)" in " ".join(shown.split())


@pytest.mark.slow
def test_two_teachers_are_compared_and_shown_side_by_side(user: Shell, tmp_path: Path) -> None:
    *runs, report, compare = commands("compare")
    for command in runs:
        user(fewer(command), tmp_path, **FEW)
    user(report, tmp_path)
    page = (tmp_path / "runs" / "both" / "report.html").read_text(encoding="utf-8")
    assert "What the outputs give away" in page
    assert "Answers of the teachers" in page
    shown = user(compare, tmp_path)
    assert "student agreement" in shown
    assert "teacher peaks" in shown


def test_every_figure_that_it_names_for_recipes_is_one() -> None:
    rows = GUIDE.split("| figure | in recipes and comparisons | meaning |")[1].split("\n\n")[0]
    named = re.findall(r"`((?:teacher|student) [^`]+)`", rows)
    known = figures(answered(Made(), logits(1), logits(2), released=logits(3)).report)
    assert {parse_about(text) for text in named} == {about for about in known if about.what not in ELSEWHERE}


def test_its_numbers_are_those_of_the_code() -> None:
    assert f"in {BINS} bins of equal width" in GUIDE
    assert f"({RESAMPLES:,} resamples" in GUIDE
    assert f"agree, else {TEMPERATURE:g};" in GUIDE
    assert PEAK == 0.1
    assert "more than a tenth of the softened output" in GUIDE

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rcframe.findings.tables import FORMS
from tests.findings.folders_made import Made, make_matrix, right, row

if TYPE_CHECKING:
    from tests.conftest import Command, Outcome

TINY = (
    *("--data", "glyphs:size=8,classes=3,train=24,test=30", "--model", "mlp:hidden=4", "--device", "cpu", "-q"),
    *("--teacher", "plain:epochs=1"),
)


def run(cli: Command, out: str, *arguments: str) -> None:
    outcome = cli("run", *TINY, *arguments, "--out", out)
    assert outcome.code == 0, outcome.err


def refused(outcome: Outcome) -> str:
    """The sentence that a command was refused with."""
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err.removeprefix("Error: ").strip()


def test_two_runs_are_compared(cli: Command) -> None:
    run(cli, "a", "--student", "plain:epochs=1", "--attack", "fgsm")
    run(cli, "b", "--student", "plain:epochs=30,lr=0.01", "--attack", "fgsm", "--student-model", "mlp:hidden=8")
    outcome = cli("compare", "a", "b")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith("A: a (seed 0)\nB: b (seed 0)\n\n")
    for words in (
        r"│ student\.epochs +│ +1 +│ +30 +│ yes +│",
        r"│ student_model +│ +- │ mlp:hidden=8 +│ yes +│",
        r"│ teacher clean +│ +([\d.]+) │ +\1 │ +\+0\.0 \[-\d\.\d, \+\d\.\d\] │ equal +│",
        r"│ student parameters +│ +[\d,]+ │ +[\d,]+ │ +\+[\d,]+ \(\+\d+\.\d%\) │ differs +│",
        r"^\* Both were measured on the same 30 images, which are compared one by one\.$",
        r"^\* One network is held against one: ",
    ):
        assert re.search(words, outcome.out, re.M), words


def test_a_run_and_its_repetition_are_exactly_equal(cli: Command) -> None:
    run(cli, "a", "--student", "plain:epochs=1")
    assert cli("run", "a/run.toml", "--no-cache", "-q", "--out", "b").code == 0
    outcome = cli("compare", "a", "b")
    assert "\nThe results are exactly equal.\n\nSettings, versions and code are the same.\n" in outcome.out


def test_runs_of_several_seeds_are_compared_in_pairs(cli: Command) -> None:
    run(cli, "a", "--student", "plain:epochs=1", "--seeds", "2")
    run(cli, "b", "--student", "plain:epochs=2", "--seeds", "3")
    outcome = cli("compare", "a", "b")
    assert outcome.code == 0
    assert "A: a (seeds 0, 1)\nB: b (seeds 0, 1, 2)\n" in outcome.out
    assert "* A and B are means over seeds 0, 1; the 95% intervals allow for other seeds" in outcome.out
    assert "* Left out: seed 2 of B, which A lacks." in outcome.out


def test_every_form_can_be_had(cli: Command) -> None:
    run(cli, "a", "--student", "plain:epochs=1")
    said = {form: cli("compare", "a", "a", "--format", form) for form in FORMS}
    assert {outcome.code for outcome in said.values()} == {0}
    assert json.loads(said["json"].out)["summary"] == "A and B are the same folder."
    assert {cells["verdict"] for cells in csv.DictReader(io.StringIO(said["csv"].out))} == {"equal"}
    assert "| teacher clean |" in said["markdown"].out
    assert r"\begin{tabular}" in said["latex"].out
    assert "\nA and B are the same folder.\n" in said["table"].out


def test_a_form_that_is_none_is_refused(cli: Command) -> None:
    assert cli("compare", "a", "b", "--format", "html").code == 2


def test_what_is_no_finished_run_is_refused_with_a_sentence(cli: Command) -> None:
    run(cli, "a", "--student", "plain:epochs=1")
    Path("foreign").mkdir()
    shutil.copytree("a", "stopped")
    Path("stopped/report.json").unlink()
    shutil.copytree("a", "damaged")
    Path("damaged/report.json").write_text("{")
    said = {name: refused(cli("compare", "a", name)) for name in ("nowhere", "foreign", "stopped", "damaged")}
    assert said["nowhere"] == "`nowhere` does not exist. Name the folder of a run or a matrix."
    assert said["foreign"].startswith("`foreign` holds no run: there is no `run.toml` in it or below it")
    assert said["stopped"].startswith("The run in `stopped` is not finished: it was stopped, or still runs.")
    assert "rcframe run --resume stopped" in said["stopped"]
    assert said["damaged"].startswith("The report `damaged/report.json` is damaged: ")
    for name in said:
        assert refused(cli("compare", name, "a")) == said[name]


def test_two_rows_of_one_matrix_are_compared_over_all_their_seeds(cli: Command) -> None:
    rows = [
        (row(name, seed), Made(seed=seed, student=right(n))) for name, n in (("a", 9), ("b", 30)) for seed in (0, 1)
    ]
    make_matrix(Path("m"), rows)
    outcome = cli("compare", "m", "--row", "b", "--row", "a")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(
        "A: m, row `b` (seeds 0, 1)\nB: m, row `a` (seeds 0, 1)\n\n1 of 2 accuracies differs "
    )
    assert re.search(
        r"│ student clean +│ +75\.0 │ +22\.5 │ -52\.5 \[-\d\d\.\d, -\d\d\.\d\] │ beyond noise +│", outcome.out
    )
    make_matrix(Path("n"), [(row("c"), Made(student=right(20)))])
    assert "│ student clean │ 22.5 │ 50.0 │" in cli("compare", "m", "n", "--row", "a", "--row", "c").out


def test_an_unknown_row_is_refused_with_a_sentence(cli: Command) -> None:
    make_matrix(Path("m"), [(row("plain"), Made()), (row("kd"), Made())])
    said = refused(cli("compare", "m", "--row", "plain", "--row", "plein"))
    assert said == "`m` has no row `plein`. Did you mean `plain`? Its rows: `plain`; `kd`."


@pytest.mark.parametrize(("count", "times"), [(1, "once"), (3, "3 times")])
@pytest.mark.parametrize("folders", [("m",), ("m", "n")])
def test_rows_come_in_twos(cli: Command, folders: tuple[str, ...], count: int, times: str) -> None:
    said = refused(cli("compare", *folders, *("--row", "a") * count))
    assert said == f"--row was given {times}. Give it twice: the row of A, then the row of B."


def test_two_folders_or_two_rows_are_needed(cli: Command) -> None:
    assert refused(cli("compare", "a")) == (
        "`a` is one folder, and there is nothing to compare it with. Name a second one, or two rows of it: --row NAME "
        "--row NAME."
    )
    assert cli("compare").code == 2


@pytest.mark.parametrize("arguments", [("compare", "--help"), ("--help",)])
def test_help_needs_no_torch(shell: Command, arguments: tuple[str, ...]) -> None:
    outcome = shell(*arguments)
    assert outcome.code == 0
    assert "compare" in outcome.out
    assert outcome.err == "without torch\n"

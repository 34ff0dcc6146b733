from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from rcframe.errors import CheckFailed, RequestError, RunFailed
from rcframe.experiments.conduct import Request
from rcframe.experiments.reproduce import list_recipes, reproduce
from rcframe.findings.records import read_reproduction
from rcframe.session.report import Report
from rcframe.session.results import read_result
from tests.experiments.test_recipe import put

if TYPE_CHECKING:
    from tests.conftest import Install

#: Parameters of a student of three colours and 8x8 pixels, with 4 or 8 hidden units and 3 classes.
SMALL, LARGE = (3 * 64 * hidden + hidden + 3 * hidden + 3 for hidden in (4, 8))
TEXT = """
title = "Large students are large"
source = "Doe (2020), table 2"
figures = ["student clean", "student parameters"]

[published]
large = {{ "student clean" = [99.5, 0.25], "student parameters" = 1000 }}

[[claim]]
says = "A large student has at least 250 parameters more."
figure = "student parameters"
by = 250
compare = [["large", "small"]]

[[claim]]
says = "{says}"
figure = "student parameters"
compare = [["{higher}", "{lower}"]]
note = "A note."

[[claim]]
says = "It is so at the full scale."
figure = "student clean"
compare = [["small", "large"]]
scales = ["full"]

[small]
note = "Tiny."
seeds = 2
run = {{ data = "glyphs:size=8,classes=3,train=24,test=12", model = "mlp:hidden=4", device = "cpu" }}
vary.size.small = {{ student_model = "mlp:hidden=4", "student.epochs" = 1, "teacher.epochs" = 1 }}
vary.size.large = {{ student_model = "mlp:hidden=8", "student.epochs" = 1, "teacher.epochs" = 1 }}

[full]
vary.size.small = {{ student_model = "mlp:hidden=4" }}
vary.size.large = {{ student_model = "mlp:hidden=8" }}
"""
HOLDS = TEXT.format(says="A small student is small.", higher="large", lower="small")
FAILS = TEXT.format(says="A small student is large.", higher="small", lower="large")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture
def asked(tmp_path: Path) -> Request:
    return Request(folder=tmp_path / "out", engine="here", command="rcframe reproduce acme/table")


def test_a_recipe_ends_with_measured_beside_published_and_a_verdict_for_every_claim(
    install: Install, asked: Request, capfd: pytest.CaptureFixture[str]
) -> None:
    put(install, "acme", ["table.toml"], HOLDS)
    reproduce("acme/table", "small", attrs.evolve(asked, quiet=True))
    out, err = capfd.readouterr()
    assert err == ""
    assert out.startswith("acme/table: Large students are large (small scale)\n")
    for note in ("Published: Doe (2020), table 2. Those figures are of the full scale", "\nTiny.\n"):
        assert note in out
    more = f"+{LARGE - SMALL} [+{LARGE - SMALL}, +{LARGE - SMALL}] (2 seeds)"
    assert "HOLDS: A large student has at least 250 parameters more.\n" in out
    assert f"  student parameters: `large` is higher than `small` by more than 250: {more}\n" in out
    assert "HOLDS: A small student is small.\n" in out
    assert "A note." not in out
    assert "undecided" not in out.lower()
    record = read_reproduction(asked.folder)
    assert record is not None
    assert [claim.verdict for claim in record.claims] == ["holds", "holds"]
    assert (record.recipe, record.scale, record.figures) == (
        "acme/table",
        "small",
        ("student clean", "student parameters"),
    )


def test_a_claim_that_does_not_hold_is_told_with_its_note_and_in_the_end(
    install: Install, asked: Request, capfd: pytest.CaptureFixture[str]
) -> None:
    put(install, "acme", ["table.toml"], FAILS)
    with pytest.raises(CheckFailed) as raised:
        reproduce("table", "small", asked)
    assert str(raised.value) == "A claim does not hold at the small scale: A small student is large."
    out = capfd.readouterr().out
    assert "HOLDS: A large student" in out
    assert "DOES NOT HOLD: A small student is large.\n" in out
    assert "\n  A note.\n" in out
    assert "Written to " in out
    record = read_reproduction(asked.folder)
    assert record is not None
    assert [claim.verdict for claim in record.claims] == ["holds", "does not hold"]


def test_one_seed_leaves_every_claim_undecided(
    install: Install, asked: Request, capfd: pytest.CaptureFixture[str]
) -> None:
    put(install, "acme", ["table.toml"], FAILS)
    reproduce("table", "small", attrs.evolve(asked, seeds=1))
    out = capfd.readouterr().out
    assert out.count("UNDECIDED: ") == 2
    assert out.count("  More seeds (--seeds) or images would narrow the interval.\n") == 2
    assert "A note." in out


@pytest.mark.parametrize("form", ["json", "csv", "markdown", "latex"])
def test_other_forms_hold_both_tables_in_one_document(
    form: str, install: Install, asked: Request, capfd: pytest.CaptureFixture[str]
) -> None:
    put(install, "acme", ["table.toml"], FAILS)
    with pytest.raises(CheckFailed):
        reproduce("table", "small", attrs.evolve(asked, form=form))
    out = capfd.readouterr().out
    assert "Written to" not in out
    if form == "json":
        found = json.loads(out)
        small, large = found["measured"]["rows"]
        assert (small["run"], large["run"]) == ("small", "large")
        assert [row["student parameters"] for row in (small, large)] == [f"{SMALL:,}", f"{LARGE:,}"]
        assert [row["student parameters, published"] for row in (small, large)] == ["-", "1,000"]
        assert [row["student clean, published"] for row in (small, large)] == ["-", "99.50 ± 0.25"]
        reports = [read_result(path) for path in (asked.folder / "runs").glob("large-*/report.json")]
        accuracies = [report.student.clean.accuracy for report in reports if isinstance(report, Report)]
        assert len(accuracies) == 2
        assert large["student clean"].startswith(f"{100 * sum(accuracies) / 2:.1f} [")
        assert [row["verdict"] for row in found["claims"]["rows"]] == ["holds", "does not hold"]
    elif form == "csv":
        measured, claims = (list(csv.DictReader(io.StringIO(part))) for part in out.split("\n\n"))
        assert [row["run"] for row in measured] == ["small", "large"]
        assert [row["verdict"] for row in claims] == ["holds", "does not hold"]
        assert claims[0]["difference"] == "+784 [+784, +784] (2 seeds)"
    else:
        counted = {"markdown": "\n| --- ", "latex": r"\begin{tabular}"}[form]
        assert out.count(counted) == 2
        assert "does not hold" in out


def test_a_dry_run_shows_the_plan_of_a_scale(
    install: Install, asked: Request, capfd: pytest.CaptureFixture[str]
) -> None:
    put(install, "acme", ["table.toml"], HOLDS)
    reproduce("table", "small", attrs.evolve(asked, dry_run=True))
    assert "4 runs." in capfd.readouterr().out
    reproduce("table", "full", attrs.evolve(asked, dry_run=True))
    assert "2 runs." in capfd.readouterr().out
    assert not asked.folder.exists()


def test_a_recipe_whose_plugins_are_missing_says_what_to_install(install: Install, asked: Request) -> None:
    put(
        install, "acme", ["table.toml"], 'needs = ["rcframe", "acme-gone", "acme-too"]\n' + HOLDS.replace("mlp", "gone")
    )
    with pytest.raises(RequestError) as raised:
        reproduce("table", "small", asked)
    assert str(raised.value) == (
        "The recipe `acme/table` needs what is not installed here: pip install acme-gone acme-too"
    )
    assert not asked.folder.exists()


def test_runs_without_a_result_leave_their_claims_undecided_and_the_others_in_the_table(
    install: Install, asked: Request, capsys: pytest.CaptureFixture[str]
) -> None:
    put(install, "acme", ["table.toml"], HOLDS)
    with pytest.raises(RunFailed, match=r"^2 of 4 runs have no result: `large` \(seed 0\): No \[luck\], `large`"):
        reproduce("table", "small", attrs.evolve(asked, engine="here:fails=large"))
    record = read_reproduction(asked.folder)
    assert record is not None
    assert {claim.verdict for claim in record.claims} == {"undecided"}
    shown = capsys.readouterr().out
    assert "small" in shown
    assert "not measured" in shown
    assert "More seeds" not in shown


# -- the list ---------------------------------------------------------------------------------------------------------


def test_every_recipe_is_listed_with_what_it_says() -> None:
    table = list_recipes()
    assert table.columns == ("recipe", "claim", "source")
    assert {"nasty/cifar10", "skeptical/cifar10", "filter-pruning/shallow"} <= {row[0] for row in table.rows}
    assert all(cell for row in table.rows for cell in row)


def test_recipes_that_lack_something_or_are_broken_are_listed_with_that(install: Install) -> None:
    put(install, "acme", ["table.toml"], 'needs = ["rcframe", "acme-gone"]\n' + HOLDS)
    put(install, "worse", ["worse.toml"], "title = 3\n")
    rows = {row[0]: row[1:] for row in list_recipes().rows}
    assert list_recipes().columns == ("recipe", "claim", "source", "remark")
    assert rows["acme/table"] == ("Large students are large", "Doe (2020), table 2", "needs acme-gone")
    assert rows["worse/worse"] == ("", "", "broken: The recipe `worse/worse` has no `title`.")
    assert rows["nasty/cifar10"][2] == ""

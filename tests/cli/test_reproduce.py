from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rcframe.registry import registry
from tests.experiments.test_recipe import put
from tests.experiments.test_reproduce import FAILS, HOLDS

if TYPE_CHECKING:
    from tests.conftest import Command, Install


def test_the_help_says_what_a_verdict_rests_on(cli: Command) -> None:
    outcome = cli("reproduce", "--help")
    assert outcome.code == 0
    for words in ("does not hold (exit code 3)", "undecided", "--scale", "--seeds", "--engine", "--dry-run", "--out"):
        assert words in outcome.out


def test_without_a_name_the_tables_are_listed(cli: Command) -> None:
    outcome = cli("reproduce")
    assert (outcome.code, outcome.err) == (0, "")
    for words in ("nasty/cifar10", "skeptical/cifar10", "filter-pruning/shallow", "Ma et al., Undistillable"):
        assert words in outcome.out


def test_names_are_whole_in_the_list_of_a_narrow_terminal(cli: Command) -> None:
    shown = cli("reproduce", COLUMNS="80").out
    assert max(map(len, shown.splitlines())) <= 80
    for found in registry().recipes():
        assert f"│ {found.name} " in shown


def test_data_that_is_absent_is_told_of_once_and_nothing_is_begun(cli: Command, tmp_path: Path) -> None:
    folder = tmp_path / "no such"
    outcome = cli("reproduce", "nasty/cifar10", "--scale", "full", "--data-root", str(folder), "-q")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.count("\n") == 3
    assert outcome.err.startswith("Error: Nothing was started: 48 of 48 runs need data that is not here.\nThe files of")
    for words in (
        f"below `{folder}`",
        "`data_batch_1.bin`",
        "`--data-root`",
        "`RCFRAME_DATA`",
        "rcframe data show cifar",
    ):
        assert outcome.err.count(words) == 1
    assert not Path("runs").exists()


@pytest.mark.parametrize("form", ["json", "csv"])
def test_the_list_has_other_forms(form: str, cli: Command) -> None:
    outcome = cli("reproduce", "--format", form)
    rows = json.loads(outcome.out)["rows"] if form == "json" else csv.DictReader(io.StringIO(outcome.out))
    assert {"nasty/cifar10", "skeptical/cifar10"} <= {row["recipe"] for row in rows}


def test_a_recipe_whose_claims_hold_ends_well(cli: Command, install: Install) -> None:
    put(install, "acme", ["table.toml"], HOLDS)
    outcome = cli("reproduce", "acme/table", "--engine", "here", "-q")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("HOLDS: ") == 2
    record = json.loads(Path("runs/reproduce/acme-table-small/matrix.json").read_text())
    assert record["command"] == "rcframe reproduce acme/table --engine here -q"
    assert len(record["rows"]) == 4


def test_a_claim_that_does_not_hold_ends_with_code_3_and_one_seed_decides_nothing(
    cli: Command, install: Install
) -> None:
    put(install, "acme", ["table.toml"], FAILS)
    outcome = cli("reproduce", "table", "--engine", "here", "--format", "json", "--out", "here")
    assert outcome.code == 3
    assert outcome.err.splitlines()[-1] == (
        "Error: A claim does not hold at the small scale: A small student is large."
    )
    assert [row["verdict"] for row in json.loads(outcome.out)["claims"]["rows"]] == ["holds", "does not hold"]
    outcome = cli("reproduce", "table", "--engine", "here", "--seeds", "1", "--out", "one", "-q")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("UNDECIDED: ") == 2


def test_without_a_cache_nothing_is_shared(cli: Command, install: Install, own_cache: Path) -> None:
    put(install, "acme", ["table.toml"], HOLDS)
    assert cli("reproduce", "table", "--engine", "here", "--seeds", "1", "-q", "--no-cache").code == 0
    assert list(own_cache.rglob("*.safetensors")) == []


def test_a_dry_run_writes_nothing_at_either_scale(cli: Command) -> None:
    for scale, runs in (("small", 9), ("full", 48)):
        outcome = cli("reproduce", "nasty/cifar10", "--scale", scale, "--dry-run")
        assert (outcome.code, outcome.err) == (0, "")
        assert f"{runs} runs.\n" in outcome.out
        assert "nasty teacher, CNN" in outcome.out
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nasty/cifar",), "Error: No recipe `nasty/cifar`. Did you mean `nasty/cifar10`? Installed: "),
        (("cifar10",), "Error: Several recipes are called `cifar10`: nasty/cifar10, skeptical/cifar10. Say which.\n"),
        (("nasty/cifar10", "--engine", "lcal"), "Did you mean `local`?"),
        (("nasty/cifar10", "--scale", "medium"), "'medium' is not one of 'small', 'full'"),
        (("nasty/cifar10", "--seeds", "0"), "0 is not in the range x>=1"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(arguments: tuple[str, ...], words: str, cli: Command) -> None:
    outcome = cli("reproduce", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err
    assert list(Path().iterdir()) == []


def test_a_recipe_without_its_plugins_says_what_to_install(cli: Command, install: Install) -> None:
    put(install, "acme", ["table.toml"], 'needs = ["acme-gone"]\n' + HOLDS)
    outcome = cli("reproduce", "acme/table")
    assert (outcome.code, outcome.err) == (
        2,
        "Error: The recipe `acme/table` needs what is not installed here: pip install acme-gone\n",
    )
    assert "needs acme-gone" in cli("reproduce").out

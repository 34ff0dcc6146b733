from __future__ import annotations

import json
import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from rcframe.session.worklog import Outcome, WorkLog
from rcframe.storage.cache import Cache, Entry
from rcframe.storage.identity import Identity

if TYPE_CHECKING:
    from tests.conftest import Command

DAY = 86400.0
DIGEST = "0123456789abcdef" * 4
TEACHER = Identity(
    {"name": "teacher/train", "role": "teacher", "teacher": "plain:epochs=3", "model": "convnet:width=1.0", "seed": "0"}
)
STUDENT = Identity(
    {
        "name": "student/train",
        "role": "student",
        "student": "kd:alpha=0.5,temperature=4.0, then plain:epochs=30",
        "pruner": "filters:rate=0.5",
        "model": "convnet:width=0.5",
        "teacher": DIGEST,
    }
)
ATTACK = Identity({"name": "student: pgd", "attack": "pgd:steps=7", "network": DIGEST})


@pytest.fixture
def cache(own_cache: Path) -> Cache:
    """The cache that the command line uses in this test."""
    return Cache(own_cache)


def keep(cache: Cache, identity: Identity, days_ago: float = 0.0, numbers: int = 1) -> Entry:
    cache.write(identity, torch.zeros(numbers))
    (entry,) = (entry for entry in cache.entries() if entry.identity == identity)
    used = time.time() - days_ago * DAY
    os.utime(entry.path, (used, used))
    return entry


def names(cache: Cache) -> list[str]:
    return [entry.identity.name for entry in cache.entries()]


def rows(text: str) -> list[list[str]]:
    """The cells of a table without its frame."""
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


# -- list -------------------------------------------------------------------------------------------------------------


def test_the_table_says_what_the_work_was_from_the_last_used_on(cache: Cache, cli: Command) -> None:
    keep(cache, TEACHER, days_ago=2)
    keep(cache, STUDENT, days_ago=1, numbers=1000)
    attacked = keep(cache, ATTACK)
    outcome = cli("cache", "list")
    assert (outcome.code, outcome.err) == (0, "")
    table = rows(outcome.out)
    day = f"{datetime.fromtimestamp(attacked.used):%Y-%m-%d %H:%M}"
    assert table[0] == ["student: pgd", "attack pgd:steps=7", f"{attacked.bytes} B", day, ATTACK.key[:12]]
    assert [row[:2] for row in table[1:]] == [
        # Options with their default values are left out; `rate` is none that the installed pruner has.
        ["student/train", "student kd:alpha=0.5, then plain"],
        ["", "pruner filters:rate=0.5"],
        ["", "model convnet:width=0.5"],
        ["teacher/train", "teacher plain:epochs=3"],
        ["", "model convnet"],
    ]
    assert re.fullmatch(r"4\.\d kB", table[1][2])
    assert DIGEST not in outcome.out


def test_json_has_everything_whole(cache: Cache, cli: Command) -> None:
    entry = keep(cache, STUDENT, days_ago=1)
    outcome = cli("cache", "list", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    (listed,) = json.loads(outcome.out)
    used = datetime.fromisoformat(listed.pop("used"))
    assert used.tzinfo == UTC
    assert used.timestamp() == pytest.approx(time.time() - DAY, abs=60)
    assert listed == {
        "name": "student/train",
        "key": STUDENT.key,
        "path": str(entry.path),
        "bytes": entry.bytes,
        "determined_by": dict(STUDENT.parts),
    }


def test_an_empty_cache_is_an_empty_list(cli: Command) -> None:
    assert json.loads(cli("cache", "list", "--json").out) == []
    assert rows(cli("cache", "list").out) == []


def test_names_are_shown_as_they_are_and_draw_nothing(cache: Cache, cli: Command) -> None:
    keep(cache, Identity({"name": "[red]\x1b[2J", "attack": "[/]"}))
    (row,) = rows(cli("cache", "list").out)
    assert row[:2] == [r"[red]\x1b[2J", "attack [/]"]
    assert r"Removed [red]\x1b[2J (" in cli("cache", "prune", "--all").out


# -- size -------------------------------------------------------------------------------------------------------------


def test_the_size_is_one_line(cache: Cache, cli: Command) -> None:
    assert cli("cache", "size").out == f"{cache.root}: 0 entries, 0 B\n"
    one = keep(cache, TEACHER)
    assert cli("cache", "size").out == f"{cache.root}: 1 entry, {one.bytes} B\n"
    keep(cache, STUDENT, numbers=500_000)
    assert cli("cache", "size").out == f"{cache.root}: 2 entries, 2.0 MB\n"


def test_the_place_is_the_one_that_the_user_chose(cli: Command, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert cli("cache", "size", RCFRAME_CACHE=str(mine)).out.startswith(f"{mine}: ")
    assert not mine.exists()


# -- prune ------------------------------------------------------------------------------------------------------------


def test_prune_removes_what_was_not_used_for_days_and_says_so(cache: Cache, cli: Command) -> None:
    old = keep(cache, TEACHER, days_ago=3)
    new = keep(cache, ATTACK, days_ago=1)
    outcome = cli("cache", "prune", "--older", "1.5")
    assert (outcome.code, outcome.err) == (0, "")
    day = f"{datetime.fromtimestamp(time.time() - 3 * DAY):%Y-%m-%d %H:%M}"
    assert outcome.out.splitlines() == [
        f"Removed teacher/train ({old.bytes} B, last used {day})",
        f"Removed 1 entry, {old.bytes} B; 1 entry, {new.bytes} B left in {cache.root}",
    ]
    assert names(cache) == [ATTACK.name]


@pytest.mark.parametrize("size", ["5000", "5kB", "5 KB", "0.005MB", "4.9KiB"])
def test_prune_keeps_a_size_however_it_is_written(size: str, cache: Cache, cli: Command) -> None:
    keep(cache, TEACHER, days_ago=3, numbers=300)
    keep(cache, STUDENT, days_ago=2, numbers=300)
    keep(cache, ATTACK, days_ago=1, numbers=1000)
    assert cli("cache", "prune", "--keep", size).code == 0
    assert names(cache) == [ATTACK.name]


def test_prune_keeps_what_fits(cache: Cache, cli: Command) -> None:
    keep(cache, TEACHER)
    assert "Removed 0 entries" in cli("cache", "prune", "--keep", "10GB").out
    assert "Removed 0 entries" in cli("cache", "prune", "--older", "30").out
    assert names(cache) == [TEACHER.name]


def test_prune_removes_everything_if_asked_to_whatever_else_was_said(cache: Cache, cli: Command) -> None:
    for identity in (TEACHER, STUDENT, ATTACK):
        keep(cache, identity)
    assert cli("cache", "prune", "--all", "--keep", "10GB").code == 0
    assert names(cache) == []


def test_prune_without_a_limit_removes_nothing(cache: Cache, cli: Command) -> None:
    keep(cache, TEACHER, days_ago=1000)
    outcome = cli("cache", "prune")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (
        "Error: Nothing says what to remove: give --keep SIZE, such as 10GB, --older DAYS, or --all.\n"
    )
    assert names(cache) == [TEACHER.name]


@pytest.mark.parametrize("size", ["", "GB", "-1GB", "10 gigs", "1e3", "nan", "10GB more"])
def test_what_is_no_size_is_refused_with_an_example(size: str, cache: Cache, cli: Command) -> None:
    keep(cache, TEACHER)
    outcome = cli("cache", "prune", f"--keep={size}")
    assert outcome.code == 2
    assert f"`{size}` is no size: write a number and a unit, such as 10GB or 500MB." in outcome.err
    assert names(cache) == [TEACHER.name]


def test_prune_names_what_only_a_newer_rcframe_can_read(cache: Cache, cli: Command) -> None:
    path = keep(cache, TEACHER).path
    path.write_bytes(path.read_bytes().replace(rb"\"format\": 1", rb"\"format\": 2"))
    assert rows(cli("cache", "list").out)[0][0] == "written by a newer rcframe"
    assert "Removed written by a newer rcframe (" in cli("cache", "prune", "--all").out
    assert not path.exists()


# -- why --------------------------------------------------------------------------------------------------------------


def run_of(folder: Path, *work: tuple[Identity, Outcome]) -> Path:
    """A run's folder that says how its work came about."""
    folder.mkdir(parents=True)
    log = WorkLog(folder / "work.json")
    for identity, outcome in work:
        log.note(identity, outcome, 2.5)
    return folder


def changed(identity: Identity, **parts: str) -> Identity:
    return Identity({**identity.parts, **parts})


def test_why_says_the_outcome_of_every_piece_of_work(cli: Command, tmp_path: Path) -> None:
    clean = Identity({"name": "student: clean"})
    folder = run_of(
        tmp_path / "run", (TEACHER, "cache"), (STUDENT, "continued"), (clean, "folder"), (ATTACK, "computed")
    )
    outcome = cli("cache", "why", str(folder))
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.splitlines() == [
        "teacher/train: found in the cache",
        "student/train: continued where the run was stopped, in 2.5 s",
        "student: clean: found in the run's folder",
        "student: pgd: computed in 2.5 s; nothing else of this name is in the cache",
    ]


def test_why_shows_in_what_the_nearest_entry_differs(cache: Cache, cli: Command, tmp_path: Path) -> None:
    other = DIGEST[::-1]
    keep(cache, changed(TEACHER, seed="7", teacher="plain:epochs=9"))
    keep(cache, changed(TEACHER, seed="1"))
    keep(cache, changed(ATTACK, network=other, threads="2"))
    folder = run_of(tmp_path / "run", (TEACHER, "computed"), (ATTACK, "computed"))
    outcome = cli("cache", "why", str(folder))
    assert outcome.out.startswith("teacher/train: computed in 2.5 s; the nearest in the cache differs\n")
    assert rows(outcome.out) == [
        ["teacher/train", "seed", "0", "1"],
        ["student: pgd", "network", f"{DIGEST[:12]}...", f"{other[:12]}..."],
        ["", "threads", "", "2"],
    ]


def test_work_does_not_differ_from_itself(cache: Cache, cli: Command, tmp_path: Path) -> None:
    """What a run has computed is in the cache afterwards."""
    keep(cache, TEACHER)
    folder = run_of(tmp_path / "run", (TEACHER, "computed"))
    assert "nothing else of this name is in the cache" in cli("cache", "why", str(folder)).out


def test_what_was_found_is_not_compared(cache: Cache, cli: Command, tmp_path: Path) -> None:
    keep(cache, changed(TEACHER, seed="1"))
    folder = run_of(tmp_path / "run", (TEACHER, "cache"))
    assert rows(cli("cache", "why", str(folder)).out) == []


def test_why_as_json_has_digests_whole(cache: Cache, cli: Command, tmp_path: Path) -> None:
    keep(cache, changed(ATTACK, network=DIGEST[::-1]))
    folder = run_of(tmp_path / "run", (TEACHER, "cache"), (ATTACK, "computed"), (STUDENT, "computed"))
    assert json.loads(cli("cache", "why", str(folder), "--json").out) == [
        {
            "name": "teacher/train",
            "outcome": "cache",
            "seconds": 2.5,
            "key": TEACHER.key,
            "nearest_differs_in": None,
        },
        {
            "name": "student: pgd",
            "outcome": "computed",
            "seconds": 2.5,
            "key": ATTACK.key,
            "nearest_differs_in": [{"part": "network", "here": DIGEST, "there": DIGEST[::-1]}],
        },
        {
            "name": "student/train",
            "outcome": "computed",
            "seconds": 2.5,
            "key": STUDENT.key,
            "nearest_differs_in": None,
        },
    ]


def test_a_folder_without_work_is_answered_with_what_to_name(cli: Command, tmp_path: Path) -> None:
    outcome = cli("cache", "why", str(tmp_path / "absent"))
    assert outcome.code == 2
    assert f"There is no folder `{tmp_path / 'absent'}`." in outcome.err
    run_of(tmp_path / "several" / "seed-1", (TEACHER, "cache"))
    outcome = cli("cache", "why", str(tmp_path / "several"))
    assert outcome.code == 2
    assert f"Name one of the runs in it: {tmp_path / 'several' / 'seed-1'}." in outcome.err
    (tmp_path / "empty").mkdir()
    outcome = cli("cache", "why", str(tmp_path / "empty"))
    assert outcome.code == 2
    assert "has no `work.json`. No work of a run has been finished in it." in outcome.err


def test_a_damaged_log_is_a_sentence(cli: Command, tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", (TEACHER, "cache"))
    (folder / "work.json").write_text("{")
    outcome = cli("cache", "why", str(folder))
    assert (outcome.code, outcome.out) == (2, "")
    assert f"`{folder / 'work.json'}` is damaged" in outcome.err


# -- all of it --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["cache"], ["cache", "list", "--help"], ["cache", "prune", "-h"]], ids=" ".join)
def test_help_needs_no_torch(words: list[str], shell: Command) -> None:
    outcome = shell(*words)
    assert outcome.err.endswith("without torch\n")
    assert "Usage: rcframe cache" in outcome.out + outcome.err


def test_a_real_run_can_be_explained(cache: Cache, cli: Command) -> None:
    run = ["run", "-q", "--model", "convnet:channels=4+4,hidden=8", "--teacher", "plain:epochs=1", "--eval-size", "16"]
    assert cli(*run, "--student", "kd:epochs=1", "--out", "one").code == 0
    assert cli(*run, "--student", "kd:epochs=1,temperature=2.0", "--out", "two").code == 0
    told = {work["name"]: work for work in json.loads(cli("cache", "why", "two", "--json").out)}
    assert [work["outcome"] for work in told.values()] == ["cache", "computed", "cache", "computed"]
    (differs,) = told["student/train"]["nearest_differs_in"]
    assert differs["part"] == "student"
    assert "temperature=2.0" in differs["here"]
    assert "temperature=4.0" in differs["there"]
    assert [part["part"] for part in told["student: clean"]["nearest_differs_in"]] == ["network"]
    assert cli("cache", "size").out.startswith(f"{cache.root}: 6 entries, ")

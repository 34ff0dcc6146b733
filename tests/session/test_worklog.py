from __future__ import annotations

import json
from pathlib import Path

import pytest

from rcframe.errors import RequestError
from rcframe.session.worklog import Entry, WorkLog, read_worklog
from rcframe.storage.identity import Identity

TRAIN = Identity({"name": "train", "seed": "0"})
PRUNE = Identity({"name": "prune", "follows": TRAIN.key})


def written(path: Path, **changes: object) -> Path:
    """A log of one entry, with some of it exchanged."""
    entry = {"outcome": "computed", "seconds": 1.5, "determined_by": {"name": "train"}}
    path.write_text(json.dumps({"format": 1, "mixed_by": [], "work": [entry], **changes}))
    return path


def test_what_was_noted_is_read_again_in_its_order(tmp_path: Path) -> None:
    log = WorkLog(tmp_path / "work.json")
    log.note(TRAIN, "computed", 1.5)
    log.note(PRUNE, "cache", 0.25)
    again = read_worklog(tmp_path / "work.json")
    assert again.entries == [Entry(TRAIN, "computed", 1.5), Entry(PRUNE, "cache", 0.25)] == log.entries


def test_every_note_is_in_the_file_at_once(tmp_path: Path) -> None:
    log = WorkLog(tmp_path / "work.json")
    log.note(TRAIN, "computed", 1.5)
    assert len(read_worklog(tmp_path / "work.json").entries) == 1
    log.mixed_by(["code of rcframe"])
    assert read_worklog(tmp_path / "work.json").mixed == ["code of rcframe"]


def test_the_file_is_for_readers_too(tmp_path: Path) -> None:
    WorkLog(tmp_path / "work.json").note(TRAIN, "computed", 1.23456)
    assert json.loads((tmp_path / "work.json").read_text()) == {
        "format": 1,
        "mixed_by": [],
        "work": [
            {
                "outcome": "computed",
                "seconds": 1.235,
                "key": TRAIN.key,
                "determined_by": {"name": "train", "seed": "0"},
            }
        ],
    }


def test_a_run_that_goes_on_remembers_how_its_finished_work_came_about() -> None:
    log = WorkLog()
    log.note(TRAIN, "computed", 1.5)
    log.note(TRAIN, "folder", 0.1)
    assert log.entries == [Entry(TRAIN, "computed", 1.5)]


def test_work_that_is_done_again_replaces_its_entry() -> None:
    log = WorkLog()
    log.note(TRAIN, "computed", 1.5)
    log.note(PRUNE, "computed", 1.0)
    changed = Identity({"name": "train", "seed": "1"})
    log.note(changed, "folder", 0.1)
    assert log.entries == [Entry(PRUNE, "computed", 1.0), Entry(changed, "folder", 0.1)]
    log.note(changed, "continued", 2.0)
    assert log.entries == [Entry(PRUNE, "computed", 1.0), Entry(changed, "continued", 2.0)]


def test_each_change_is_remembered_once() -> None:
    log = WorkLog()
    log.mixed_by(["seed", "code of rcframe"])
    log.mixed_by(iter(["threads", "seed"]))
    assert log.mixed == ["seed", "code of rcframe", "threads"]


def test_a_run_without_a_folder_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = WorkLog()
    log.note(TRAIN, "computed", 1.0)
    log.mixed_by(["seed"])
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    log = read_worklog(tmp_path / "work.json")
    assert (log.entries, log.mixed) == ([], [])
    assert not (tmp_path / "work.json").exists()
    log.note(TRAIN, "computed", 1.0)
    assert (tmp_path / "work.json").exists()


def test_a_log_of_the_future_is_refused_politely(tmp_path: Path) -> None:
    path = written(tmp_path / "work.json", format=2, work="otherwise")
    with pytest.raises(RequestError, match=f"`{path}` was written by a newer rcframe: upgrade to read it"):
        read_worklog(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": None},
        {"work": [{}]},
        {"work": 3},
        {"work": [{"outcome": "guessed", "seconds": 1.0, "determined_by": {}}]},
        {"work": [{"outcome": "cache", "seconds": "long", "determined_by": {}}]},
        {"work": [{"outcome": "cache", "seconds": 1.0, "determined_by": []}]},
    ],
    ids=str,
)
def test_a_damaged_log_is_named_with_what_to_do(changes: dict[str, object], tmp_path: Path) -> None:
    path = written(tmp_path / "work.json", **changes)
    with pytest.raises(RequestError, match=rf"`{path}` is damaged: .*\. Remove it"):
        read_worklog(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff"], ids=str)
def test_what_is_no_log_is_named_too(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "work.json").write_bytes(content)
    with pytest.raises(RequestError, match="is damaged"):
        read_worklog(tmp_path / "work.json")

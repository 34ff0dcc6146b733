from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rcframe.errors import RequestError, RunFailed
from rcframe.session.config import make_config
from rcframe.session.folder import Journal, RunFolder, create_folder, fresh_folder
from rcframe.testing.toys import toy_run
from rcframe.training.loop import execute
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


def plan() -> Iterator[Stage]:
    run = toy_run("student")
    yield Training(epochs=2, batch_size=16).stage(run, run.network("student"), supervised)


def test_a_new_folder_is_created_with_its_parents(tmp_path: Path) -> None:
    assert create_folder(tmp_path / "a" / "b").path == tmp_path / "a" / "b"
    assert (tmp_path / "a" / "b").is_dir()


def test_an_existing_folder_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(RequestError, match=r"exists already\. Choose another with --out, or remove it"):
            create_folder(taken)
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "kept"


def test_a_folder_that_cannot_be_created_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"Cannot create the output folder `.*/file/out`: Not a directory"):
        create_folder(tmp_path / "file" / "out")


def test_a_fresh_folder_is_named_after_the_parts_with_the_first_free_number(tmp_path: Path) -> None:
    config = make_config(
        {"teacher": "nasty:alpha=0.1", "student": ["kd", "plain"], "pruner": "filters", "neuron": "lif"}
    )
    name = "digits-nasty-kd-plain-filters-lif"
    (tmp_path / f"{name}-1").mkdir()
    assert [fresh_folder(config, tmp_path).path.name for _ in range(2)] == [f"{name}-2", f"{name}-3"]
    assert fresh_folder(make_config({}), tmp_path).path == tmp_path / "digits-plain-plain-1"


def test_the_journal_writes_a_line_per_epoch(tmp_path: Path) -> None:
    journal = Journal(RunFolder(tmp_path))
    execute(plan(), journal)
    journal.closed()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in lines] == [("student/train", 1), ("student/train", 2)]
    for line in lines:
        assert list(line) == ["stage", "epoch", "seconds", "loss", "accuracy"]
        assert line["loss"] > 0
        assert 0 <= line["accuracy"] <= 1
    assert 0 <= lines[0]["seconds"] <= lines[1]["seconds"]


def test_an_epoch_is_on_disk_when_it_is_over(tmp_path: Path) -> None:
    journal, (stage,) = Journal(RunFolder(tmp_path)), plan()
    journal.epoch_done(stage, {"loss": 1.5})
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == 1.5
    journal.closed()


def test_the_log_tells_what_happened(tmp_path: Path) -> None:
    journal = Journal(RunFolder(tmp_path))
    execute(plan(), journal)
    journal.measuring("student: clean", 24)
    journal.said("größer")
    logging.getLogger("rcframe.somewhere").warning("careful")
    journal.closed()
    text = (tmp_path / "log.txt").read_text(encoding="utf-8")
    said = [line.split("rcframe", 1)[1].strip() for line in text.splitlines()]
    assert said == [
        "stage student/train: 2 epochs of 4 batches",
        "stage student/train: done",
        "measuring student: clean on 24 images",
        "größer",
        ".somewhere careful",
    ]
    assert text.splitlines()[-1].split()[2] == "WARNING"


def test_a_closed_journal_leaves_logging_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("rcframe")
    before = logger.level, logger.propagate, list(logger.handlers)
    journal = Journal(RunFolder(tmp_path))
    journal.said("inside")
    journal.closed()
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
    assert caplog.records == [], "what goes into the log is not also printed"
    logger.warning("outside")
    assert [record.message for record in caplog.records] == ["outside"]
    assert "outside" not in (tmp_path / "log.txt").read_text()


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"Cannot write `.*metrics\.jsonl`: No such file"):
        Journal(RunFolder(tmp_path / "nowhere"))

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from rcframe.session.folder import RunFolder
from rcframe.session.journal import Journal
from rcframe.session.logfile import BegunStage, Remark, read_log
from rcframe.testing.toys import toy_run
from rcframe.training.loop import execute
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


def plan() -> Iterator[Stage]:
    run = toy_run("student")
    for epochs, name in ((2, "train"), (3, "a: 1 epochs of 1 batches")):
        yield Training(epochs=epochs, batch_size=16).stage(run, run.network(name), supervised, name=name)


def test_what_the_journal_of_a_run_wrote_is_understood(tmp_path: Path) -> None:
    began = datetime.now().replace(microsecond=0)
    journal = Journal(RunFolder(tmp_path))
    execute(plan(), journal)
    journal.measuring("student: pgd on 3 images", 24)
    journal.said("größer")
    logging.getLogger("rcframe.somewhere").warning("careful")
    journal.said("teacher/train: from the cache")
    logging.getLogger("rcframe").info("x: not in the cache; the nearest entry differs in seed")
    journal.closed()
    log = read_log(tmp_path / "log.txt")
    assert log.stages == {
        "student/train": BegunStage(2, 4),
        "student/a: 1 epochs of 1 batches": BegunStage(3, 4),
    }
    assert log.measurements == {"student: pgd on 3 images": 24}
    assert [remark.text for remark in log.remarks] == ["größer", "careful"]
    assert all(began <= remark.when <= datetime.now() for remark in log.remarks)


def test_what_began_again_after_a_stop_keeps_its_place(tmp_path: Path) -> None:
    stamp = "2026-01-02 03:04:05,678 INFO rcframe"
    (tmp_path / "log.txt").write_text(
        f"{stamp} stage a: 2 epochs of 4 batches\n"
        f"{stamp} stage b: 3 epochs of 4 batches\n"
        f"{stamp} stage a: 2 epochs of 4 batches\n"
    )
    assert list(read_log(tmp_path / "log.txt").stages) == ["a", "b"]


def test_tracebacks_and_lines_that_are_not_whole_yet_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(
        "2026-01-02 03:04:05,678 ERROR rcframe.x it broke\n"
        "Traceback (most recent call last):\n"
        "2026-99-99 03:04:05,678 INFO rcframe no date\n"
        "2026-01-02 03:04:06,000 INFO rcframe stage a: 2 epochs of 4 ba"
    )
    log = read_log(tmp_path / "log.txt")
    assert log.stages == {}
    assert log.remarks == [Remark(datetime(2026, 1, 2, 3, 4, 5), "it broke")]


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path) -> None:
    log = read_log(tmp_path / "log.txt")
    assert (log.stages, log.measurements, log.remarks) == ({}, {}, [])

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from rcframe.errors import RunFailed
from rcframe.session.folder import RunFolder
from rcframe.session.journal import Journal
from rcframe.session.metrics import read_metrics
from rcframe.testing.toys import toy_run
from rcframe.training.loop import execute
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


def plan() -> Iterator[Stage]:
    run = toy_run("student")
    yield Training(epochs=2, batch_size=16).stage(run, run.network("student"), supervised)


def stage_of(name: str = "train", history: list[dict[str, float]] | None = None) -> Stage:
    run = toy_run("student")
    stage = Training(epochs=9, batch_size=16).stage(run, run.network("student"), supervised, name=name)
    stage.history = history or []
    return stage


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def epochs(folder: RunFolder, *numbers: int, name: str = "train") -> None:
    """Open a journal, tell it of the ends of epochs, counted from 1, with their number as loss, and close it."""
    journal, stage = Journal(folder), stage_of(name)
    for number in numbers:
        stage.epoch = number - 1
        journal.epoch_done(stage, {"loss": float(number)})
    journal.closed()


def lines(folder: RunFolder) -> list[tuple[str, int, Mapping[str, float]]]:
    return [(line.stage, line.epoch, line.metrics) for line in read_metrics(folder.metrics)]


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_the_journal_writes_a_line_per_epoch(folder: RunFolder) -> None:
    journal = Journal(folder)
    execute(plan(), journal)
    journal.closed()
    written = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in written] == [("student/train", 1), ("student/train", 2)]
    for line in written:
        assert list(line) == ["stage", "epoch", "seconds", "loss", "accuracy"]
        assert line["loss"] > 0
        assert 0 <= line["accuracy"] <= 1
    assert 0 <= written[0]["seconds"] <= written[1]["seconds"]


def test_an_epoch_is_on_disk_when_it_is_over(folder: RunFolder) -> None:
    journal, (stage,) = Journal(folder), plan()
    journal.epoch_done(stage, {"loss": 1.5})
    assert json.loads(folder.metrics.read_text())["loss"] == 1.5
    journal.closed()


def test_a_run_that_goes_on_writes_below_what_it_wrote(folder: RunFolder) -> None:
    epochs(folder, 1, 2)
    before = folder.metrics.read_text()
    epochs(folder, 3)
    assert folder.metrics.read_text().startswith(before)
    assert lines(folder) == [("student/train", number, {"loss": float(number)}) for number in (1, 2, 3)]


def test_an_epoch_that_is_trained_again_is_not_written_again(folder: RunFolder) -> None:
    epochs(folder, 1, 2, 3)
    epochs(folder, 2, 3, 4)
    epochs(folder, 3, name="other")
    assert [(stage, epoch) for stage, epoch, _ in lines(folder)] == [
        *(("student/train", number) for number in (1, 2, 3, 4)),
        ("student/other", 3),
    ]


@pytest.mark.parametrize("half", ['{"stage": "student/train", "epo', '{"stage": "student/train", "epoch": 3}', "{"])
def test_a_line_that_a_killed_process_left_half_written_is_cut_off(half: str, folder: RunFolder) -> None:
    epochs(folder, 1, 2)
    with folder.metrics.open("a") as file:
        file.write(half)
    epochs(folder, 3)
    written = folder.metrics.read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in written] == [1, 2, 3]


def test_a_file_with_nothing_but_half_a_line_starts_anew(folder: RunFolder) -> None:
    folder.metrics.write_text('{"stage": "stu')
    epochs(folder, 1)
    assert [epoch for _, epoch, _ in lines(folder)] == [1]


def test_whole_lines_are_not_cut(folder: RunFolder) -> None:
    epochs(folder, 1, 2)
    before = folder.metrics.read_bytes()
    Journal(folder).closed()
    assert folder.metrics.read_bytes() == before


def test_the_epochs_of_a_stage_that_was_trained_before_are_written_once_without_a_time(folder: RunFolder) -> None:
    history = [{"loss": 3.0}, {"loss": 2.0, "accuracy": 0.5}]
    for _ in range(2):
        journal = Journal(folder)
        journal.stage_recalled(stage_of(history=history))
        journal.closed()
    assert lines(folder) == [("student/train", 1, history[0]), ("student/train", 2, history[1])]
    assert [line.seconds for line in read_metrics(folder.metrics)] == [None, None]


def test_what_is_recalled_adds_the_epochs_that_are_not_there_yet(folder: RunFolder) -> None:
    epochs(folder, 1)
    journal = Journal(folder)
    journal.stage_recalled(stage_of(history=[{"loss": 1.0}, {"loss": 0.5}]))
    journal.closed()
    assert [(epoch, metrics["loss"]) for _, epoch, metrics in lines(folder)] == [(1, 1.0), (2, 0.5)]


def test_a_metric_of_any_size_is_read_back_as_it_was(folder: RunFolder) -> None:
    metrics = {"loss": 0.1 + 0.2, "tiny": 5e-324, "huge": 1.7976931348623157e308}
    journal = Journal(folder)
    journal.epoch_done(stage_of(), metrics)
    journal.closed()
    assert lines(folder) == [("student/train", 1, metrics)]


# -- the log ----------------------------------------------------------------------------------------------------------


def test_the_log_tells_what_happened(folder: RunFolder) -> None:
    journal = Journal(folder)
    execute(plan(), journal)
    journal.measuring("student: clean", 24)
    journal.said("größer, 100% s %d")
    logging.getLogger("rcframe.somewhere").warning("careful")
    journal.closed()
    text = folder.log.read_text(encoding="utf-8")
    said = [line.split("rcframe", 1)[1].strip() for line in text.splitlines()]
    assert said == [
        "stage student/train: 2 epochs of 4 batches",
        "stage student/train: done",
        "measuring student: clean on 24 images",
        "größer, 100% s %d",
        ".somewhere careful",
    ]
    assert text.splitlines()[-1].split()[2] == "WARNING"


def test_the_log_grows_when_a_run_goes_on(folder: RunFolder) -> None:
    for word in ("first", "second"):
        journal = Journal(folder)
        journal.said(word)
        journal.closed()
    assert [line.split()[-1] for line in folder.log.read_text().splitlines()] == ["first", "second"]


def test_a_closed_journal_leaves_logging_as_it_was(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("rcframe")
    before = logger.level, logger.propagate, list(logger.handlers)
    journal = Journal(folder)
    journal.said("inside")
    journal.closed()
    assert (logger.level, logger.propagate, list(logger.handlers)) == before
    assert caplog.records == [], "what goes into the log is not also printed"
    logger.warning("outside")
    assert [record.message for record in caplog.records] == ["outside"]
    assert "outside" not in folder.log.read_text()


# -- what cannot be written -------------------------------------------------------------------------------------------


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match=r"Cannot write `.*metrics\.jsonl`: No such file"):
        Journal(RunFolder(tmp_path / "nowhere"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
def test_a_full_disk_ends_the_run_with_the_files_name_and_the_log_without_noise(
    folder: RunFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    import resource

    epochs(folder, *range(1, 101))
    size = folder.metrics.stat().st_size
    folder.log.write_bytes(b"x" * size)
    journal, before = Journal(folder), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        journal.said("lost")
        with pytest.raises(RunFailed, match=r"Cannot write `.*metrics\.jsonl`: File too large"):
            journal.epoch_done(stage_of("other"), {"loss": 1.0})
        journal.closed()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert capfd.readouterr() == ("", "")
    assert len(lines(folder)) == 100
    assert logging.getLogger("rcframe").handlers == []

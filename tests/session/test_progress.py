from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from rcframe.session.progress import LineDisplay, LiveDisplay, format_metrics, make_display
from rcframe.testing.toys import toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def stage_of(epochs: int = 3) -> Stage:
    run = toy_run("student")
    return Training(epochs=epochs, batch_size=16).stage(run, run.network("student"), supervised)


def live() -> tuple[LiveDisplay, io.StringIO]:
    stream = io.StringIO()
    return LiveDisplay(Console(file=stream, force_terminal=True, width=160, color_system=None)), stream


def last_frame(stream: io.StringIO) -> str:
    """The text without the codes that move the cursor, from the last drawing on."""
    frames = re.split(r"(?:\x1b\[1A\x1b\[2K)+", stream.getvalue())
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frames[-1])


def test_metrics_are_written_for_reading() -> None:
    assert format_metrics({"loss": 0.123456, "accuracy": 0.98765}) == "loss 0.1235  accuracy 98.8%"
    assert format_metrics({"teacher accuracy": 0.5, "loss": 1234567.0}) == "teacher accuracy 50.0%  loss 1.235e+06"


def test_lines_tell_start_and_end_of_every_stage_and_measurement() -> None:
    stream = io.StringIO()
    display = LineDisplay(stream)
    execute(iter([stage_of()]), display)
    display.measuring("student: clean", 32)
    display.measured(32)
    display.said("hello")
    display.closed()
    started, epoch, measuring, said = stream.getvalue().splitlines()
    assert started == "student/train: 3 epochs of 4 batches"
    assert re.fullmatch(r"student/train: epoch 3/3  loss \d\S*  accuracy \d+\.\d%  [\d,]+ images/s  0 s left", epoch), (
        epoch
    )
    assert measuring == "measuring student: clean on 32 images"
    assert said == "hello"


def test_lines_tell_every_epoch_that_comes_seconds_after_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def clock() -> float:
        return now

    monkeypatch.setattr("rcframe.session.progress.time", SimpleNamespace(monotonic=clock))
    stream, stage = io.StringIO(), stage_of(epochs=10)
    display = LineDisplay(stream)
    display.stage_started(stage)
    for epoch in range(10):
        now += 3.0
        stage.epoch = epoch
        display.batch_done(stage, 60)
        display.epoch_done(stage, {"loss": float(epoch)})
    told = stream.getvalue().splitlines()[1:]
    assert [line.split()[2] for line in told] == ["2/10", "4/10", "6/10", "8/10", "10/10"]
    # Two epochs of three seconds each with 60 images, eight to come.
    assert told[0].endswith("20 images/s  24 s left")


def test_the_live_display_shows_the_stage_its_metrics_and_its_end() -> None:
    display, stream = live()
    execute(iter([stage_of()]), display)
    display.closed()
    shown = last_frame(stream)
    assert re.search(r"student/train .*100%.* images/s.*epoch 3/3  loss \d\S*  accuracy \d+\.\d%", shown), shown


def test_the_throughput_of_the_live_display_counts_images_not_batches() -> None:
    now = 100.0
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=160, color_system=None, get_time=lambda: now)
    display, stage = LiveDisplay(console), stage_of(1)
    display.stage_started(stage)
    for _ in range(4):
        now += 0.5
        display.batch_done(stage, 60)
    display.stage_done(stage)
    display.measuring("student: clean", 1000)
    now += 0.5
    display.measured(1000)
    display.closed()
    training, measuring = last_frame(stream).strip().splitlines()[-2:]
    assert " 120 images/s" in training
    assert " 2,000 images/s" in measuring


def test_a_stage_without_epochs_ends_with_a_full_bar() -> None:
    display, stream = live()
    execute(iter([stage_of(0)]), display)
    display.closed()
    assert "100%" in last_frame(stream)


def test_the_live_display_keeps_a_bar_for_everything_that_was_done() -> None:
    display, stream = live()
    execute(iter([stage_of(1)]), display)
    display.measuring("student: clean", 32)
    display.measured(20)
    display.measured(12)
    display.said("a word")
    display.closed()
    shown = last_frame(stream)
    assert [line.split()[0] for line in shown.splitlines() if "100%" in line] == ["student/train", "student:"]
    assert "a word" in stream.getvalue()


def test_displays_are_chosen_by_what_the_stream_is() -> None:
    assert type(make_display(quiet=True, stream=Terminal())) is Monitor
    assert type(make_display(quiet=False, stream=io.StringIO())) is LineDisplay
    assert type(make_display(quiet=False, stream=Terminal())) is LiveDisplay


def test_quiet_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    execute(iter([stage_of(1)]), make_display(quiet=True))
    assert capfd.readouterr() == ("", "")


def test_by_default_progress_goes_to_the_error_stream(capsys: pytest.CaptureFixture[str]) -> None:
    display = make_display(quiet=False)
    execute(iter([stage_of(1)]), display)
    display.closed()
    out, err = capsys.readouterr()
    assert out == ""
    assert "student/train" in err


@pytest.mark.parametrize("display", [LineDisplay(io.StringIO()), live()[0]], ids=["lines", "live"])
def test_displaying_does_not_draw_random_numbers(display: Monitor) -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    display.stage_started(stage_of(1))
    display.epoch_done(stage_of(1), {"loss": 1.0})
    display.closed()
    assert torch.equal(torch.rand(2), expected)

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from rcframe.session.logfile import Remark
from rcframe.session.metrics import Line
from rcframe.session.watch_view import View, duration
from rcframe.session.watching import Asked, Clean, State, WatchedMeasurement, WatchedRun, WatchedSeeds, WatchedStage

NOW = datetime(2026, 1, 2, 12, 0, 0)
ASKED = Asked(command="rcframe run --student kd", seed=0, seeds=1, measurements=4)
TEACHER = WatchedStage(
    name="teacher/train",
    lines=(
        Line("teacher/train", 1, 0.5, {"loss": 100.0, "accuracy": 0.1, "own accuracy": 0.3, "kd": 1.0}),
        Line("teacher/train", 2, 1.0, {"loss": 10.0, "accuracy": 0.5, "own accuracy": 0.4, "kd": 2.0}),
        Line("teacher/train", 3, 1.5, {"loss": 1.0, "accuracy": 0.9, "own accuracy": 0.5, "kd": 3.0}),
    ),
    total=3,
    batches=22,
    finished="computed",
    seconds=90.4,
)
STUDENT = WatchedStage(
    name="student/train", lines=(Line("student/train", 1, 2.0, {"loss": 0.25}),), total=5, batches=22
)
CLEAN = WatchedMeasurement(name="teacher: clean", images=1797, finished="cache")
PGD = WatchedMeasurement(name="teacher: pgd", images=1797)


def run(
    state: State = "running",
    *,
    stages: tuple[WatchedStage, ...] = (TEACHER, STUDENT),
    measurements: tuple[WatchedMeasurement, ...] = (),
    remarks: tuple[Remark, ...] = (),
    path: str = "runs/a",
) -> WatchedRun:
    return WatchedRun(
        path=Path(path),
        asked=ASKED,
        state=state,
        written=NOW.timestamp() - 75,
        stages=stages,
        measurements=measurements,
        remarks=remarks,
    )


def shown(seen: WatchedRun | WatchedSeeds, *, width: int = 80, lines: int | None = None, hint: str = "") -> list[str]:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    console.print(View(seen=seen, now=NOW.timestamp(), lines=lines, hint=hint))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def below_the_head(seen: WatchedRun | WatchedSeeds) -> list[str]:
    lines = shown(seen)
    return lines[lines.index("") + 1 :]


def test_a_running_run_tells_when_it_last_wrote() -> None:
    assert shown(run())[:3] == ["runs/a: running, last wrote 1 min 15 s ago", "rcframe run --student kd", ""]
    assert shown(attrs.evolve(run(), written=NOW.timestamp() + 60))[0] == "runs/a: running, last wrote just now"
    assert shown(attrs.evolve(run(), written=NOW.timestamp() - 3.9))[0] == "runs/a: running, last wrote 3 s ago"


def test_a_stopped_run_tells_how_to_go_on() -> None:
    assert shown(run("stopped", path="runs/my run"))[:4] == [
        "runs/my run: stopped, last wrote 1 min 15 s ago",
        "rcframe run --student kd",
        "Go on with: rcframe run --resume 'runs/my run'",
        "",
    ]


def test_a_finished_run_says_so() -> None:
    assert shown(run("finished"))[:3] == ["runs/a: finished", "rcframe run --student kd", ""]


def test_stages_stand_with_their_epochs_times_and_curves() -> None:
    assert below_the_head(run()) == [
        "teacher/train      3/3 epochs  0.5 s each  computed in 1 min 30 s",
        # The loss falls to a tenth each time, which is a straight line of its logarithm.
        "  loss 100 █▅▁ 1  accuracy 10.0% ▁▅█ 90.0%  own accuracy 50.0%  kd 3",
        "student/train      1/5 epochs  2 s each  8 s left",
        "  loss 0.25",
    ]


def test_a_stage_before_its_first_epoch_tells_how_long_one_is() -> None:
    begun = attrs.evolve(STUDENT, lines=())
    assert below_the_head(run(stages=(begun,))) == ["student/train      0/5 epochs  of 22 batches"]
    unknown = attrs.evolve(begun, total=None, batches=None)
    assert below_the_head(run(stages=(unknown,))) == ["student/train      0/? epochs"]


def test_nothing_goes_on_in_a_stopped_run() -> None:
    assert below_the_head(run("stopped", stages=(STUDENT,), measurements=(PGD,))) == [
        "student/train      1/5 epochs  2 s each  unfinished",
        "  loss 0.25",
        "teacher: pgd     1,797 images  unfinished",
        "measured 0 of 4",
    ]


def test_measurements_are_counted() -> None:
    assert below_the_head(run(stages=(), measurements=(CLEAN, PGD))) == [
        "teacher: clean    1,797 images  from the cache",
        "teacher: pgd      1,797 images  under way",
        "measured 1 of 4",
    ]
    assert "measured" not in "\n".join(shown(run()))


def test_a_loss_below_zero_is_drawn_as_it_is() -> None:
    lines = tuple(Line("a", epoch, None, {"loss": loss}) for epoch, loss in ((1, 1.0), (2, 0.0), (3, -1.0)))
    stage = attrs.evolve(STUDENT, lines=lines)
    assert below_the_head(run(stages=(stage,)))[1] == "  loss 1 █▅▁ -1"


def test_the_end_of_what_was_said_is_shown_with_its_time() -> None:
    earlier = Remark(datetime(2025, 12, 31, 9, 8, 7), "yesterday")
    remarks = (Remark(NOW, "left out"), earlier, *(Remark(datetime(2026, 1, 2, 9, 8, 7), text) for text in "abc"))
    mixed = attrs.evolve(run(stages=(), remarks=remarks), mixed=("code of rcframe", "seed"))
    assert below_the_head(mixed) == [
        "The run went on after changes of code of rcframe, seed.",
        "2025-12-31 09:08  yesterday",
        *(f"09:08:07  {text}" for text in "abc"),
    ]


def test_the_hint_stands_last() -> None:
    assert shown(run(), hint="Press a key.")[-1] == "Press a key."


def test_of_a_long_run_the_latest_work_is_shown() -> None:
    stages = tuple(attrs.evolve(TEACHER, name=f"stage {number}") for number in range(10))
    lines = shown(run(stages=(*stages, STUDENT), remarks=(Remark(NOW, "said"),)), lines=12, hint="hint")
    assert len(lines) <= 12
    assert lines[3] == "... 8 above"
    assert [line.split("  ")[0] for line in lines[4:]] == [
        "stage 8",
        "",
        "stage 9",
        "",
        "student/train",
        "",
        "12:00:00",
        "hint",
    ]
    assert shown(run(), lines=7) == shown(run())


@pytest.mark.parametrize("height", range(7, 30))
def test_a_picture_is_as_high_as_it_may_be_and_no_higher(height: int) -> None:
    stages = tuple(attrs.evolve(TEACHER, name=f"stage {number}") for number in range(20))
    # Pieces of two lines each.
    assert len(shown(run(stages=stages), lines=height)) in (height - 1, height)


@pytest.mark.parametrize("lines", [0, 3, 5])
def test_a_window_that_is_far_too_small_shows_no_work(lines: int) -> None:
    assert "teacher/train" not in "\n".join(shown(run(), lines=lines))


def test_nothing_is_wider_than_the_terminal_and_no_curve_is_torn_apart() -> None:
    metrics = {"accuracy": 0.5, **{f"metric {number}": 1.0 for number in range(5)}}
    lines = tuple(Line("a", epoch, 1.0, {"loss": 1 / epoch, **metrics}) for epoch in range(1, 40))
    stage = attrs.evolve(STUDENT, lines=lines, name="student/a-name-that-is-far-too-long-for-a-column")
    found = shown(run(stages=(stage,)), width=60)
    assert max(map(len, found)) <= 60
    assert found[-3:] == [
        "  loss 1 █▇▅▄▄▃▃▂▂▂▂▁▁▁▁▁ 0.02564",
        "  accuracy 50.0% ▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅▅ 50.0%  metric 0 1",
        "  metric 1 1  metric 2 1  metric 3 1  metric 4 1",
    ]


def test_seeds_stand_in_a_line_each_and_the_one_under_way_in_full() -> None:
    first = attrs.evolve(run("finished"), asked=attrs.evolve(ASKED, seed=3), clean=Clean(0.975, 0.9, 75.0))
    second = attrs.evolve(run(stages=(STUDENT,)), asked=attrs.evolve(ASKED, seed=4))
    asked = attrs.evolve(ASKED, seed=3, seeds=4)
    seen = WatchedSeeds(path=Path("runs/s"), asked=asked, state="running", written=0.0, runs=(first, second))
    assert below_the_head(seen) == [
        "seed 3: finished, clean accuracy 97.5% (teacher), 90.0% (student), 1 min 15 s",
        "seed 4: running",
        "student/train      1/5 epochs  2 s each  8 s left",
        "  loss 0.25",
        "to come: seeds 5, 6",
    ]
    assert below_the_head(attrs.evolve(seen, runs=()))[0] == "to come: seeds 3, 4, 5, 6"


def test_text_from_the_folder_is_no_markup_and_moves_no_cursor() -> None:
    stage = attrs.evolve(STUDENT, name="a[red]\x1b[2J", lines=(Line("a", 1, 1.0, {"l\x1b[1A[b]": 1.0}),))
    lines = shown(run(stages=(stage,), remarks=(Remark(NOW, "\x1b[31m[bold]x"),)))
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert r"a[red]\x1b[2J" in text
    assert r"l\x1b[1A[b] 1" in text
    assert r"\x1b[31m[bold]x" in text


def test_terminals_that_know_only_ascii_get_ascii() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Console(file=stream, width=80).print(View(seen=run(), now=NOW.timestamp()))
    stream.seek(0)
    assert "loss 100 #=_ 1" in stream.read()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.0004, "0 ms"), (0.022, "22 ms"), (0.099, "99 ms"), (0.0996, "0.1 s"), (4.21, "4.2 s"), (9.94, "9.9 s")),
        *((9.96, "10 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (192, "3 min 12 s"), (3599.7, "1 h 0 min")),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_are_written_for_reading(seconds: float, words: str) -> None:
    assert duration(seconds) == words

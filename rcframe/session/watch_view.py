"""A watched run as a person sees it in a terminal."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from rcframe.errors import listed
from rcframe.session.progress import format_metric
from rcframe.session.sparkline import PLAIN_RAMP, RAMP, sparkline
from rcframe.session.watching import State, WatchedMeasurement, WatchedRun, WatchedSeeds, WatchedStage
from rcframe.session.worklog import Outcome
from rcframe.visible import visible

_CURVE_WIDTH = 16
_NAME_WIDTH = 32
_MOST_REMARKS = 4
_STYLES: dict[State, str] = {"running": "bold green", "stopped": "bold yellow", "finished": "bold"}


@attrs.frozen(kw_only=True)
class View:
    """A watched run in at most `lines` lines; what was done first is left out first."""

    seen: WatchedRun | WatchedSeeds
    #: Seconds since 1970.
    now: float
    lines: int | None = None
    #: What stands at the end.
    hint: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        ramp = PLAIN_RAMP if options.ascii_only else RAMP
        head, work, foot = self._head(), list(self._work(_Curves(ramp, options.max_width))), self._foot()
        if self.lines is not None:
            room = self.lines - sum(_height(text, console, options) for text in (*head, *foot))
            work = _latest(work, room, console, options)
        yield from (*head, *work, *foot)

    def _head(self) -> list[Text]:
        seen = self.seen
        line = Text.assemble(_text(str(seen.path)), ": ", (seen.state, _STYLES[seen.state]))
        if seen.state != "finished":
            line.append(f", last wrote {_ago(self.now - seen.written)}")
        head = [line, _text(seen.asked.command, "dim")]
        if seen.state == "stopped":
            head.append(_text(f"Go on with: rcframe run --resume {shlex.quote(str(seen.path))}"))
        return [*head, Text()]

    def _work(self, curves: _Curves) -> Iterator[Text]:
        if isinstance(self.seen, WatchedRun):
            yield from _run(self.seen, curves)
            return
        for run in self.seen.runs:
            yield _seed(run)
            if run.state != "finished":
                yield from _run(run, curves)
        if coming := self.seen.seeds_to_come:
            yield Text(f"to come: {'seed' if len(coming) == 1 else 'seeds'} {listed(map(str, coming))}", "dim")

    def _foot(self) -> list[Text]:
        runs = [self.seen] if isinstance(self.seen, WatchedRun) else self.seen.runs[-1:]
        said = [text for run in runs for text in _said(run, datetime.fromtimestamp(self.now))]
        return [*said, *([Text(self.hint, "dim")] if self.hint else [])]


@attrs.frozen
class _Curves:
    """Writes the metrics of a stage, the most telling ones as curves, with nothing torn apart at a line's end."""

    ramp: str
    width: int

    def of(self, stage: WatchedStage) -> Iterator[str]:
        drawn = ["loss", *[name for name in stage.metrics if "accuracy" in name][:1]]
        line = ""
        for name, value in stage.metrics.items():
            words = f"{name} {format_metric(name, value)}"
            if name in drawn and len(curve := stage.curve(name)) > 1:
                signs = sparkline(_scaled(name, curve), _CURVE_WIDTH, self.ramp)
                words = f"{name} {format_metric(name, curve[0])} {signs} {format_metric(name, value)}"
            if line and cell_len(f"{line}  {words}") > self.width:
                yield line
                line = ""
            line += f"  {words}"
        if line:
            yield line


def _scaled(name: str, curve: Sequence[float]) -> Sequence[float]:
    """Return a curve as it is drawn: a loss falls by ever smaller steps, which only logarithms keep visible."""
    return list(map(math.log, curve)) if name == "loss" and min(curve) > 0 else curve


def _run(run: WatchedRun, curves: _Curves) -> Iterator[Text]:
    """Yield what a run did and does, a text per piece of work."""
    names = [*(stage.name for stage in run.stages), *(measurement.name for measurement in run.measurements)]
    width = min(max((cell_len(visible(name)) for name in names), default=0), _NAME_WIDTH)
    for stage in run.stages:
        yield Text("\n").join(
            [
                _piece(stage.name, width, _training(stage, run.state), stage.finished),
                *(_text(line, "cyan") for line in curves.of(stage)),
            ]
        )
    for measurement in run.measurements:
        yield _piece(measurement.name, width, _measuring(measurement, run.state), measurement.finished)
    if run.measurements:
        done = sum(measurement.finished is not None for measurement in run.measurements)
        yield Text(f"measured {done} of {run.asked.measurements}")


def _training(stage: WatchedStage, state: State) -> str:
    counted = f"{stage.done}/{'?' if stage.total is None else stage.total}"
    words = [f"{counted:>7} epochs"]
    if stage.epoch_seconds is not None:
        words.append(f"{duration(stage.epoch_seconds)} each")
    elif stage.batches is not None and not stage.finished:
        words.append(f"of {stage.batches} batches")
    if stage.finished:
        words.append(_outcome(stage.finished, stage.seconds))
    elif state != "running":
        words.append("unfinished")
    elif stage.seconds_left is not None:
        words.append(f"{duration(stage.seconds_left)} left")
    return "  ".join(words)


def _measuring(measurement: WatchedMeasurement, state: State) -> str:
    words = [] if measurement.images is None else [f"{measurement.images:>7,} images"]
    if measurement.finished:
        words.append(_outcome(measurement.finished, measurement.seconds))
    else:
        words.append("under way" if state == "running" else "unfinished")
    return "  ".join(words)


def _outcome(outcome: Outcome, seconds: float) -> str:
    said: dict[Outcome, str] = {
        "computed": f"computed in {duration(seconds)}",
        "continued": f"continued after a stop for {duration(seconds)}",
        "cache": "from the cache",
        "folder": "kept from before a stop",
    }
    return said[outcome]


def _said(run: WatchedRun, now: datetime) -> Iterator[Text]:
    if run.mixed:
        yield _text(f"The run went on after changes of {listed(run.mixed)}.", "yellow")
    for remark in run.remarks[-_MOST_REMARKS:]:
        form = "%H:%M:%S" if remark.when.date() == now.date() else "%Y-%m-%d %H:%M"
        yield _text(f"{remark.when.strftime(form)}  {remark.text}", "dim")


def _seed(run: WatchedRun) -> Text:
    line = Text.assemble(f"seed {run.asked.seed}: ", (run.state, _STYLES[run.state]))
    if run.clean:
        teacher, student, seconds = run.clean.teacher, run.clean.student, duration(run.clean.seconds)
        line.append(f", clean accuracy {teacher:.1%} (teacher), {student:.1%} (student), {seconds}")
    return line


def _ago(seconds: float) -> str:
    return "just now" if seconds < 1 else f"{duration(math.floor(seconds))} ago"


def duration(seconds: float) -> str:
    """Write how long something took for reading."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _piece(name: str, width: int, words: str, finished: Outcome | None) -> Text:
    """Return a line about a piece of work; what is not finished stands out."""
    shown = visible(name)
    column = set_cell_size(shown, width) if cell_len(shown) < width else shown
    return Text.assemble((column, "" if finished else "bold"), "  ", words)


def _text(words: str, style: str = "") -> Text:
    """Return text as it is: brackets are no markup, and nothing in it moves the cursor."""
    return Text(visible(words), style)


def _height(text: Text, console: Console, options: ConsoleOptions) -> int:
    return len(console.render_lines(text, options, pad=False))


def _latest(work: Sequence[Text], room: int, console: Console, options: ConsoleOptions) -> list[Text]:
    """Return the last texts that fit into `room` lines, below a line about those that do not."""
    heights = [_height(text, console, options) for text in work]
    if sum(heights) <= room:
        return list(work)
    first, used = len(work), 1
    while first and used + heights[first - 1] <= room:
        first -= 1
        used += heights[first]
    return [Text(f"... {first} above", "dim"), *work[first:]]

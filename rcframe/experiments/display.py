"""What a user sees of a matrix: its plan before it starts, and how far it is while it works."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rcframe.experiments.matrix import MatrixFolder
from rcframe.experiments.plan import Plan, PlannedRun, Shared
from rcframe.findings.records import RowRecord
from rcframe.visible import visible

#: Rows of a plan that are shown, and running jobs that are named.
_MOST_ROWS, _MOST_NAMED = 40, 8


def plan_table(plan: Plan, done: int) -> Group:
    """Show the rows of a plan, how large it is, and what its runs share."""
    table = Table()
    for heading in ("", "run", "seeds", "what cannot be"):
        table.add_column(heading, justify="right" if heading == "" else "left", overflow="fold")
    rows = _by_name(plan.runs)
    for number, runs in enumerate(rows[:_MOST_ROWS], 1):
        seeds = ", ".join(str(run.config.seed) for run in runs)
        table.add_row(str(number), Text(visible(runs[0].name)), seeds, Text(runs[0].refusal, style="red"))
    if len(rows) > _MOST_ROWS:
        table.add_row("", f"... and {len(rows) - _MOST_ROWS} more", "", "")
    if not any(run.refusal for run in plan.runs):
        table.columns.pop()
    # Beside the table, since what belongs to a table is broken at its width.
    return Group(Text(plan.title, style="italic"), table, *(Text(line) for line in _size(plan, done)))


def _by_name(runs: Sequence[PlannedRun]) -> list[list[PlannedRun]]:
    found: dict[str, list[PlannedRun]] = {}
    for run in runs:
        found.setdefault(run.name, []).append(run)
    return list(found.values())


def _size(plan: Plan, done: int) -> Iterator[str]:
    refused = len(plan.runs) - len(plan.possible)
    done_words = f", {done} of them done" if done else ""
    yield f"{_count(len(plan.runs), 'run')}{done_words}{f', {refused} of them cannot be' if refused else ''}."
    shared = [("teacher", plan.teachers), ("student", plan.students), ("measurement", plan.measurements)]
    words = [_shared(name, what) for name, what in shared]
    yield f"What runs share is computed once: {', '.join(words)}."


def _shared(name: str, shared: Shared) -> str:
    if shared.distinct == shared.asked:
        return _count(shared.distinct, name)
    return f"{_count(shared.distinct, name)} instead of {shared.asked}"


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" if number == 1 else f"{number:,} {name}s"


class MatrixDisplay:
    """Tells how a matrix gets on: a live line on a terminal, a line for each run that ended elsewhere."""

    def __init__(self, plan: Plan, folder: MatrixFolder, done: int, console: Console) -> None:
        self._plan, self._folder, self._console = plan, folder, console
        self._total, self._ended, self._failed, self._began = len(plan.possible), done, 0, time.monotonic()
        self._over: set[str] = set()
        self._live = Live(
            console=console, get_renderable=self._line, refresh_per_second=1, transient=True, redirect_stdout=False
        )

    def __enter__(self) -> MatrixDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def ended(self, row: RowRecord) -> None:
        """Tell of a run that ended."""
        self._ended += 1
        self._failed += row.status != "done"
        self._over.add(row.folder)
        line = Text(f"[{self._ended}/{self._total}] {row.status}: {visible(row.name)}, seed {row.seed}")
        if row.reason:
            line.append(f": {row.reason}", style="red")
        self._console.print(line, soft_wrap=True)

    def _line(self) -> Text:
        working = [run for run in self._plan.possible if self._works(run)]
        names = [f"{visible(run.name)} (seed {run.config.seed})" for run in working[:_MOST_NAMED]]
        more = f" and {len(working) - _MOST_NAMED} more" if len(working) > _MOST_NAMED else ""
        failed = f", {self._failed} failed" if self._failed else ""
        seconds = time.monotonic() - self._began
        head = f"{self._ended} of {self._total} runs ended{failed}, {seconds / 60:.1f} min."
        return Text(f"{head} Working: {'; '.join(names) or 'starting'}{more}", style="dim")

    def _works(self, run: PlannedRun) -> bool:
        files = self._folder.run(run)
        return files.config.is_file() and not files.report.is_file() and f"runs/{run.id}" not in self._over


@contextmanager
def displayed(
    plan: Plan, folder: MatrixFolder, done: int, console: Console, *, quiet: bool
) -> Iterator[MatrixDisplay | None]:
    """Show a matrix while it works, unless nothing is to be shown."""
    if quiet:
        yield None
        return
    with MatrixDisplay(plan, folder, done, console) as display:
        yield display

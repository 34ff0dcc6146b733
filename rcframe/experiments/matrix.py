"""A matrix in its folder: every run a job, each result noted when it is there, and all of it to be gone on with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from pathlib import Path

import attrs

from rcframe.api import Engine
from rcframe.errors import RequestError, RunFailed
from rcframe.experiments.plan import Plan, PlannedRun
from rcframe.files import write_text
from rcframe.findings.records import REPRODUCTION, MatrixRecord, RowRecord, Status, write_matrix
from rcframe.jobs import Ended, Job
from rcframe.session.layout import MATRIX, RunFiles
from rcframe.storage.locks import locked_or_refused

#: What a process that was asked to stop, and kept its state, exits with: as a run does, or as shells put SIGTERM.
_STOPPED = (130, 143, -2, -15)
_GOES_ON = "it was stopped, and goes on when started again"
#: Seconds between two notes of what is done; thousands of runs would else write more than they compute.
_BETWEEN_NOTES = 1.0


def _nothing(row: RowRecord) -> None:
    """Ignore what ended."""


@attrs.frozen
class MatrixFolder:
    """Where a matrix is kept: `matrix.json`, the runs, and what each was told and said."""

    path: Path

    def config(self, run: PlannedRun) -> Path:
        """What a run is told."""
        return self.path / "jobs" / f"{run.id}.toml"

    def log(self, run: PlannedRun) -> Path:
        """What a run says."""
        return self.path / "jobs" / f"{run.id}.log"

    def run(self, run: PlannedRun) -> RunFiles:
        """Where a run writes."""
        return RunFiles(self.path / "runs" / run.id)

    def held(self) -> AbstractContextManager[None]:
        """Keep other processes from carrying out this matrix."""
        return locked_or_refused(self.path / ".lock", f"Another process works on the matrix in `{self.path}`.")

    def prepare(self) -> None:
        """Create the folder, or refuse one that holds something else."""
        if self.path.exists() and not self.path.is_dir():
            raise RequestError(f"`{self.path}` is a file: name another folder with --out.")
        if self.path.is_dir() and not (self.path / MATRIX).is_file() and any(self._inside()):
            raise RequestError(f"`{self.path}` holds something else than a matrix: name another folder with --out.")
        try:
            (self.path / "jobs").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RequestError(f"Cannot create the folder `{self.path}`: {error.strerror}.") from error

    def _inside(self) -> Iterator[Path]:
        # A killed process may have come no further than this: its lock, and half of a first note.
        return (path for path in self.path.iterdir() if path.name != "jobs" and not path.name.startswith("."))


@attrs.frozen(kw_only=True)
class MatrixRun:
    """Carries out a plan."""

    plan: Plan
    folder: MatrixFolder
    engine: Engine
    command: str
    #: Take finished work from other runs, and leave it to them.
    share: bool = True
    #: Told of every run that ended.
    ended: Callable[[RowRecord], None] = _nothing

    def rows(self) -> dict[str, RowRecord]:
        """Return how far every run is, by its id; those that failed before wait to be tried again."""
        return {run.id: self._row(run) for run in self.plan.runs}

    def _row(self, run: PlannedRun) -> RowRecord:
        done = self.folder.run(run).report.is_file()
        status: Status = "done" if done else "failed" if run.refusal else "waiting"
        return RowRecord(
            name=run.name,
            labels=run.labels,
            seed=run.config.seed,
            folder=str(self.folder.run(run).path.relative_to(self.folder.path)),
            status=status,
            reason="" if done else run.refusal,
        )

    def carry_out(self) -> MatrixRecord:
        """Carry out what is not done yet; return how every run ended."""
        self.folder.prepare()
        with self.folder.held():
            rows = self.rows()
            # Its claims rest on the runs that were there before.
            (self.folder.path / REPRODUCTION).unlink(missing_ok=True)
            self._note(rows)
            jobs = {run.id: self._job(run) for run in self.plan.possible if rows[run.id].status != "done"}
            try:
                # Closing is what stops the jobs.
                with closing(
                    _closable(self.engine.carry_out(list(jobs.values()), (self.folder.path / "jobs").resolve()))
                ) as all_ended:
                    noted = time.monotonic()
                    for ended in all_ended:
                        row = rows[ended.job.name] = self._concluded(rows[ended.job.name], ended)
                        self.ended(row)
                        if time.monotonic() - noted > _BETWEEN_NOTES:
                            self._note(rows)
                            noted = time.monotonic()
            finally:
                record = self._note(self._seen(rows))
        return record

    def _job(self, run: PlannedRun) -> Job:
        config, folder = self.folder.config(run).resolve(), self.folder.run(run).path.resolve()
        write_text(config, run.toml())
        arguments = ("run", str(config), "--out", str(folder), "--continue", "--quiet")
        return Job(
            name=run.id,
            arguments=arguments if self.share else (*arguments, "--no-cache"),
            log=self.folder.log(run).resolve(),
            environment=_settings_of_this_process(),
        )

    def _concluded(self, row: RowRecord, ended: Ended) -> RowRecord:
        if RunFiles(self.folder.path / row.folder).report.is_file():
            return attrs.evolve(row, status="done", reason="")
        if ended.code in _STOPPED:
            return attrs.evolve(row, status="interrupted", reason=_GOES_ON)
        return attrs.evolve(row, status="failed", reason=ended.reason or "it ended without a report")

    def _seen(self, rows: Mapping[str, RowRecord]) -> dict[str, RowRecord]:
        """Look once more at the runs that nothing was said of: the matrix may be ending early."""
        return {name: self._looked_at(row) if row.status == "waiting" else row for name, row in rows.items()}

    def _looked_at(self, row: RowRecord) -> RowRecord:
        files = RunFiles(self.folder.path / row.folder)
        if files.report.is_file():
            return attrs.evolve(row, status="done", reason="")
        return attrs.evolve(row, status="interrupted", reason=_GOES_ON) if files.config.is_file() else row

    def _note(self, rows: Mapping[str, RowRecord]) -> MatrixRecord:
        record = MatrixRecord(
            title=self.plan.title, command=self.command, axes=self.plan.axes, rows=tuple(rows.values())
        )
        write_matrix(self.folder.path, record)
        return record


def refuse_unless_done(record: MatrixRecord, folder: Path) -> None:
    """Raise `RunFailed` if a run of a matrix has no result."""
    open_rows = [row for row in record.rows if row.status != "done"]
    if open_rows:
        names = ", ".join(
            f"`{row.name}` (seed {row.seed}): {(row.reason or row.status).rstrip('.')}" for row in open_rows[:3]
        )
        more = f", and {len(open_rows) - 3} more" if len(open_rows) > 3 else ""
        raise RunFailed(
            f"{len(open_rows)} of {len(record.rows)} runs have no result: {names}{more}. What the others found is in "
            f"`{folder}`; the same command tries those again."
        )


def _closable(ended: Iterator[Ended]) -> Generator[Ended]:
    """Make sure that there is something to close."""
    yield from ended


def _settings_of_this_process() -> dict[str, str]:
    """Return what jobs on other machines must know of how this process was told to work."""
    # Flags given by variables, such as RCFRAME_RUN_SEED, would change the runs; an empty one is none.
    flags = {name: "" for name in os.environ if name.startswith("RCFRAME_RUN_")}
    own = ("RCFRAME_CACHE", "RCFRAME_DATA", "RCFRAME_OFFLINE", "RCFRAME_PLUGINS", "RCFRAME_STRICT", "RCFRAME_DEBUG")
    return flags | {name: os.environ[name] for name in own if name in os.environ}

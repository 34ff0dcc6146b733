"""A matrix from its file to its table."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import cast

import attrs
from rich.console import Console

from rcframe.api import Engine
from rcframe.data.prepare import about_root
from rcframe.experiments.absent import refuse_without_data
from rcframe.experiments.display import displayed, plan_table
from rcframe.experiments.local import LocalEngine
from rcframe.experiments.matrix import MatrixFolder, MatrixRun, refuse_unless_done
from rcframe.experiments.matrix_file import MatrixFile
from rcframe.experiments.plan import Plan, make_plan
from rcframe.findings.folders import collect
from rcframe.findings.overview import overview
from rcframe.findings.records import MatrixRecord
from rcframe.findings.tables import Table, render
from rcframe.findings.terminal import print_table
from rcframe.registry import registry
from rcframe.session.stopping import Stop


@attrs.frozen(kw_only=True)
class Request:
    """How a matrix is to be carried out, and shown."""

    folder: Path
    #: Spec string of the engine.
    engine: str
    command: str
    #: Overrides how often each run is repeated.
    seeds: int | None = None
    #: Where data files lie, in the place of where the runs look for them.
    data_root: Path | None = None
    #: Only show what would be done.
    dry_run: bool = False
    #: Take finished work from other runs, and leave it to them.
    share: bool = True
    #: One of `tables.FORMS`.
    form: str = "table"
    quiet: bool = False


def conduct(matrix: MatrixFile, request: Request) -> None:
    """Show the plan of a matrix, carry it out, and print what it found."""
    record = carry_out(matrix, request)
    if record is None:
        return
    if any(row.status == "done" for row in record.rows):
        show(overview(collect([request.folder])), request)
    announce(request)
    refuse_unless_done(record, request.folder)


def carry_out(matrix: MatrixFile, request: Request) -> MatrixRecord | None:
    """Carry out a matrix and return how its runs ended; None if only its plan was asked for."""
    engine = cast(Engine, registry().make("engine", request.engine))
    plan = make_plan(matrix, request.seeds).reading(request.data_root)
    folder = MatrixFolder(request.folder)
    run = MatrixRun(plan=plan, folder=folder, engine=engine, command=request.command, share=request.share)
    rows = run.rows()
    done = sum(row.status == "done" for row in rows.values())
    # Other engines may carry the runs out where there are other files.
    if isinstance(engine, LocalEngine) and not request.dry_run:
        refuse_without_data([one for one in plan.possible if rows[one.id].status != "done"])
    said = Console(stderr=True, highlight=False)
    if not request.quiet and (words := about_root(request.data_root)):
        said.print(words, markup=False, soft_wrap=True)
    if request.dry_run or not request.quiet:
        # A plan that was asked for is a result.
        (Console(highlight=False) if request.dry_run else said).print(plan_table(plan, done))
    if request.dry_run:
        return None
    return _carried_out(run, plan, done, said, request)


def _carried_out(run: MatrixRun, plan: Plan, done: int, said: Console, request: Request) -> MatrixRecord:
    try:
        with (
            Stop().listening(),
            displayed(plan, run.folder, done, said, quiet=request.quiet) as display,
        ):
            return (attrs.evolve(run, ended=display.ended) if display else run).carry_out()
    except KeyboardInterrupt as error:
        error.add_note(f"What was computed is kept in {shlex.quote(str(request.folder))}; the same command goes on.")
        raise


def show(table: Table, request: Request) -> None:
    """Print a table in the form that was asked for."""
    if request.form == "table":
        print_table(table, Console(highlight=False))
    else:
        sys.stdout.write(render(table, request.form))


def announce(request: Request) -> None:
    """Say where everything is, and what to do with it."""
    if request.form == "table" and not request.quiet:
        folder = shlex.quote(str(request.folder))
        Console(highlight=False).print(f"Written to {folder}; rcframe report {folder} makes a page.", soft_wrap=True)

"""`rcframe matrix`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from rcframe.cli.many import many_runs

if TYPE_CHECKING:
    from rcframe.experiments.matrix_file import MatrixFile

#: Runs that are started without asking, and runs that are planned at all.
_UNASKED, _MOST = 1_000, 100_000


@click.command(context_settings={"show_default": False})
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the matrix (default: runs/NAME of the file).")
@click.option("--seeds", type=click.IntRange(min=1), help="Repeat every run with so many seeds (default: as in FILE).")
@click.option("--yes", is_flag=True, help=f"Do not ask before more than {_UNASKED:,} runs.")
@many_runs
@click.pass_obj
def matrix(
    command: str | None,
    /,
    file: Path,
    out: Path | None,
    engine: str,
    seeds: int | None,
    data_root: Path | None,
    dry_run: bool,
    yes: bool,
    no_cache: bool,
    style: str,
    quiet: bool,
) -> None:
    """Carry out many runs: every combination of what FILE varies.

    FILE is TOML: [run] holds what all runs share, [vary] lists of values for any part or option of a run, [[exclude]]
    what is left out, [[row]] runs of their own. Work that runs share is done once. Given again, the command goes on
    where it was stopped, and tries again what failed.
    """
    from rcframe.experiments.conduct import Request, conduct
    from rcframe.experiments.matrix_file import read_matrix_file

    read = read_matrix_file(file)
    _ask(read, seeds, yes or dry_run)
    conduct(
        read,
        Request(
            folder=out or Path("runs") / file.stem,
            engine=engine,
            command=command or "rcframe matrix",
            seeds=seeds,
            data_root=data_root,
            dry_run=dry_run,
            share=not no_cache,
            form=style,
            quiet=quiet,
        ),
    )


def _ask(matrix: MatrixFile, seeds: int | None, unasked: bool) -> None:
    """Have a very large matrix confirmed before its rows are even built."""
    from rcframe.errors import RequestError

    count = matrix.most // matrix.seeds * (seeds or matrix.seeds)
    if count > _MOST:
        raise RequestError(f"The matrix has up to {count:,} runs, and {_MOST:,} are the most. Divide it into several.")
    if unasked or count <= _UNASKED:
        return
    if not sys.stdin.isatty():
        raise RequestError(f"The matrix has up to {count:,} runs. If that is meant, say --yes; --dry-run shows them.")
    if not click.confirm(f"The matrix has up to {count:,} runs. Start it?"):
        raise RequestError("Nothing was started.")

"""`rcframe reproduce`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import rich_click as click

from rcframe.cli.kinds import RecipeType
from rcframe.cli.many import many_runs


@click.command(context_settings={"show_default": False})
@click.argument("name", required=False, type=RecipeType())
@click.option(
    "--scale",
    type=click.Choice(["small", "full"]),
    default="small",
    help="Either small (default), minutes without a download, or full, the published data and schedule.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Repeat every run with so many seeds (default: the recipe's)."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the runs (default: runs/reproduce/NAME-SCALE).")
@many_runs
@click.pass_obj
def reproduce(
    command: str | None,
    /,
    name: str | None,
    scale: Literal["small", "full"],
    seeds: int | None,
    out: Path | None,
    engine: str,
    data_root: Path | None,
    dry_run: bool,
    no_cache: bool,
    style: str,
    quiet: bool,
) -> None:
    """Repeat a published table and say which of its claims hold; without NAME, list the tables.

    Recipes come with plugins. A claim holds, does not hold (exit code 3), or is undecided at this sample size: a
    comparison of runs with equal seeds, image by image, whose 95% interval must lie on one side.
    """
    from rcframe.experiments.conduct import Request
    from rcframe.experiments.reproduce import list_recipes, reproduce as carry_out
    from rcframe.findings.tables import render

    if name is None:
        table = list_recipes()
        if style == "table":
            from rich.console import Console

            Console(highlight=False).print(table)
        else:
            click.echo(render(table, style), nl=False)
        return
    request = Request(
        folder=out or Path("runs") / "reproduce" / f"{name.replace('/', '-')}-{scale}",
        engine=engine,
        command=command or "rcframe reproduce",
        seeds=seeds,
        data_root=data_root,
        dry_run=dry_run,
        share=not no_cache,
        form=style,
        quiet=quiet,
    )
    carry_out(name, scale, request)

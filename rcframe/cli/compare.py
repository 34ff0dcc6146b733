"""`rcframe compare`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click


@click.command()
@click.argument("first", metavar="DIR_A", type=click.Path(path_type=Path))
@click.argument("second", metavar="DIR_B", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv", "markdown", "latex"]),
    default="table",
    help="Form of the result (default table); csv holds the figures alone.",
)
def compare(first: Path, second: Path, style: str) -> None:
    """Say in what two runs differ, and whether beyond noise.

    Each DIR is the folder of a run, of a run with several seeds, or of a matrix, whose rows are compared with those of
    equal names. Runs of equal seeds are held against each other, image by image where both measured the same images.
    """
    from rich.console import Console

    from rcframe.findings.comparison import compare_folders
    from rcframe.findings.comparison_view import show, written

    comparison = compare_folders(first, second)
    if style == "table":
        show(comparison, Console(highlight=False))
    else:
        click.echo(written(comparison, style), nl=False)

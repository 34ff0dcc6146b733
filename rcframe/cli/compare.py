"""`rcframe compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from rcframe.errors import RequestError

if TYPE_CHECKING:
    from rcframe.findings.comparison import Comparison


@click.command()
@click.argument("first", metavar="DIR_A", type=click.Path(path_type=Path))
@click.argument("second", metavar="[DIR_B]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--row",
    "rows",
    metavar="NAME",
    multiple=True,
    help="Row to compare, by its name in the table of results; give it twice: the row of DIR_A, then the row of DIR_B, "
    "or of DIR_A again where no DIR_B is given.",
)
@click.option(
    "--format",
    "style",
    type=click.Choice(["table", "json", "csv", "markdown", "latex"]),
    default="table",
    help="Form of the result (default table); csv holds the figures alone.",
)
def compare(first: Path, second: Path | None, rows: tuple[str, ...], style: str) -> None:
    """Say in what two runs differ, and whether beyond noise.

    Each DIR is the folder of a run, of a run with several seeds, or of a matrix, whose rows are compared with those of
    equal names. Runs of equal seeds are held against each other, image by image where both measured the same images.

    Two rows of one matrix are named by --row NAME --row NAME, beside its one DIR.
    """
    from rich.console import Console

    from rcframe.findings.comparison_view import show, written

    comparison = _comparison(first, second, rows)
    if style == "table":
        show(comparison, Console(highlight=False, emoji=False))
    else:
        click.echo(written(comparison, style), nl=False)


def _comparison(first: Path, second: Path | None, rows: tuple[str, ...]) -> Comparison:
    from rcframe.findings.comparison import compare_folders, compare_rows

    match rows:
        case ():
            if second is None:
                raise RequestError(
                    f"`{first}` is one folder, and there is nothing to compare it with. Name a second one, or two rows "
                    f"of it: --row NAME --row NAME."
                )
            return compare_folders(first, second)
        case (mine, theirs):
            return compare_rows(first, second or first, (mine, theirs))
        case _:
            raise RequestError(
                f"--row was given {'once' if len(rows) == 1 else f'{len(rows)} times'}. Give it twice: the row of A, "
                f"then the row of B."
            )

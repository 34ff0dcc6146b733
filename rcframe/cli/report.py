"""`rcframe report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from rcframe.findings.tables import FORMS


@click.command(context_settings={"show_default": False})
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the report (default: DIR/report of the first).")
@click.option("--format", "style", type=click.Choice(FORMS), help="Also print the table of results, in this form.")
def report(folders: tuple[Path, ...], out: Path | None, style: str | None) -> None:
    """Write what runs found as a page to look at, and as tables.

    DIR is the folder of a run, of a run with several seeds, of a matrix or a reproduction, or one above them. Runs that
    differ in the seed only are put together. Writes report.html, one file that needs no network, and tables/ with
    Markdown, CSV and LaTeX of the same data. Runs that are not finished are listed with the reason.
    """
    from rcframe.findings.folders import collect
    from rcframe.findings.overview import overview
    from rcframe.findings.tables import render
    from rcframe.findings.terminal import print_table
    from rcframe.reporting.titles import title_of
    from rcframe.reporting.write import refuse_unfinished, refuse_without_libraries, write_report

    refuse_without_libraries()
    collection = collect(folders)
    refuse_unfinished(collection)
    page, *tables = write_report(collection, out or folders[0] / "report", title_of(collection, folders))
    # What is asked for stands alone on standard output.
    click.echo(page, err=style is not None)
    if tables:
        click.echo(f"and {_counted(tables)} in {tables[0].parent}", err=style is not None)
    if style == "table":
        from rich.console import Console

        print_table(overview(collection), Console(highlight=False, emoji=False))
    elif style:
        click.echo(render(overview(collection), style), nl=False)


def _counted(files: Sequence[Path]) -> str:
    """Count tables, each of which is written in several forms."""
    count = len({file.stem for file in files})
    return "1 table" if count == 1 else f"{count} tables"

"""`rcframe new`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from rcframe.api import KINDS


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@click.option("--into", type=click.Path(path_type=Path), default=Path(), help="Where to put it (default: here).")
@click.option("--prefix", default="rcframe", help="First word of the distribution's name (default rcframe).")
def new(kind: str, name: str, into: Path, prefix: str) -> None:
    """Write a plugin package that installs, passes its checks and runs, ready to be filled with your method."""
    from rcframe.scaffold import write_plugin

    folder = write_plugin(kind, name, into, prefix)
    click.echo(f"Wrote {folder}. Next:")
    click.echo(f"    pip install -e {folder}")
    click.echo(f"    rcframe check {folder.name}")
    click.echo(f"    rcframe info {kind} {name}")

"""`rcframe data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from rcframe.cli.kinds import ComponentType

if TYPE_CHECKING:
    from rcframe.data.images import Dataset


@click.group()
def data() -> None:
    """List data sets and look at them."""


@data.command("list")
def list_data() -> None:
    """List the data sets that can be named with --data."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rcframe.registry import registry

    table = Table()
    for heading in ("data", "what it is", "from"):
        table.add_column(heading, overflow="fold")
    for item in registry().announced("data"):
        table.add_row(item.spec.name, escape(item.spec.summary), f"{item.distribution} {item.version}")
    Console(emoji=False).print(table)


@data.command()
@click.argument("spec", type=ComponentType("data"))
@click.option("--count", type=click.IntRange(min=1), default=8, help="How many images to show (default 8).")
@click.option("--data-root", help="Folder of the data files (default: RCFRAME_DATA, else the platform's data folder).")
@click.option("--png", type=click.Path(path_type=Path), help="Write the images to this file instead of the terminal.")
def show(spec: str, count: int, data_root: str | None, png: Path | None) -> None:
    """Load a data set, say what is in it, and show its first training images."""
    from typing import cast

    from rich.console import Console

    from rcframe.api import DataSource
    from rcframe.data.pictures import print_images, save_images
    from rcframe.data.prepare import about_root, default_root, prepare
    from rcframe.registry import registry

    source = cast(DataSource, registry().make("data", spec))
    root = Path(data_root) if data_root else None
    dataset = prepare(source, root or default_root(), seed=0)
    if words := about_root(root):
        click.echo(words, err=True)
    console = Console(highlight=False, emoji=False)
    for line in _describe(dataset):
        console.print(line, markup=False)
    batch = dataset.train.first(count)
    if png:
        save_images(batch.images, png)
        console.print(f"Wrote {png}", soft_wrap=True)
    else:
        print_images(batch, dataset.info, console)


def _describe(dataset: Dataset) -> list[str]:
    from rcframe.errors import listed

    info = dataset.info
    channels, height, width = info.shape
    splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test, "extra": dataset.extra}
    counts = listed(f"{len(images):,} {name}" for name, images in splits.items() if images is not None)
    names = list(info.classes)
    shown = listed(names if len(names) <= 20 else [*names[:19], "..."])
    return [
        f"{info.name}: {height}x{width} pixels, {channels} channels, {len(names)} classes ({shown})",
        f"Images: {counts}. Customary eps: {info.eps}.",
    ]

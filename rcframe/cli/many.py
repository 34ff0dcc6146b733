"""The options that every command has which carries out many runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import rich_click as click

from rcframe.cli.kinds import ComponentType
from rcframe.findings.tables import FORMS

F = TypeVar("F", bound=Callable[..., object])

_OPTIONS = (
    click.option(
        "--engine",
        default="local",
        type=ComponentType("engine"),
        help="What carries the runs out (default local: as many at once as there are processors).",
    ),
    click.option(
        "--data-root",
        type=click.Path(path_type=Path),
        help="Folder of the data files (default: as the runs say, else RCFRAME_DATA, else the platform's data folder).",
    ),
    click.option("--dry-run", is_flag=True, help="Show the runs and what they share, and start nothing."),
    click.option("--no-cache", is_flag=True, help="Compute everything in every run, and share nothing."),
    click.option(
        "--format", "style", type=click.Choice(FORMS), default="table", help="Form of the result (default table)."
    ),
    click.option("-q", "--quiet", is_flag=True, help="Print the result and errors only."),
)


def many_runs(function: F) -> F:
    """Add these options to a command."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function

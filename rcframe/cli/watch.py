"""`rcframe watch`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from rich.console import Console

    from rcframe.session.watching import State, WatchedRun, WatchedSeeds

_LEAST_SECONDS = 0.1
_HINTS: dict[State, str] = {
    "running": "Ctrl-C ends watching; the run goes on.",
    "stopped": "Waiting for the run to go on. Ctrl-C ends watching.",
    "finished": "",
}


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Print how it stands now, and end.")
@click.option("--interval", type=float, default=1.0, metavar="SECONDS", help="Between two looks (default 1).")
def watch(folder: Path, once: bool, interval: float) -> None:
    """Show how a run goes, or how it went.

    DIR is the folder that the run writes to. It is only read, so that any number of people can watch. On a terminal
    the picture is drawn again and again until the run is finished; else it is printed once.
    """
    import sys

    from rich.console import Console

    from rcframe.errors import RequestError
    from rcframe.session.watching import look

    if not _LEAST_SECONDS <= interval < math.inf:
        raise RequestError(f"`--interval` is {interval:g}, but it must be {_LEAST_SECONDS:g} seconds or more.")
    console = Console(highlight=False, emoji=False)
    if once or not sys.stdout.isatty() or console.is_dumb_terminal:
        seen = look(folder)
        _print(seen, console)
    else:
        seen = _follow(folder, interval, console)
    if seen.state == "finished":
        _print_report(folder, console)


def _print(seen: WatchedRun | WatchedSeeds, console: Console) -> None:
    import time

    from rcframe.session.watch_view import View

    console.print(View(seen=seen, now=time.time()), soft_wrap=not console.is_terminal)


def _follow(folder: Path, interval: float, console: Console) -> WatchedRun | WatchedSeeds:
    """Draw the run until it is finished or the user has seen enough; return what was seen last."""
    import time

    from rich.live import Live

    from rcframe.session.watch_view import View
    from rcframe.session.watching import look

    seen = look(folder)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        try:
            while seen.state != "finished":
                view = View(seen=seen, now=time.time(), lines=console.height - 1, hint=_HINTS[seen.state])
                live.update(view, refresh=True)
                time.sleep(interval)
                seen = look(folder)
        except KeyboardInterrupt:
            pass
    _print(seen, console)
    return seen


def _print_report(folder: Path, console: Console) -> None:
    # The report's table needs torch, which takes seconds to import: the rest is on the screen by now.
    from rcframe.session.layout import RunFiles
    from rcframe.session.results import read_result

    console.print(read_result(RunFiles(folder).report))

"""`rcframe cache`: what is kept for other runs, and why something was not found there."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from rcframe.storage.identity import PHASES, brief
from rcframe.visible import visible

if TYPE_CHECKING:
    from rich.table import Table

    from rcframe.session.worklog import Entry as Done
    from rcframe.storage.cache import Entry
    from rcframe.storage.identity import Difference, Identity

    _Bytes = click.ParamType[int]
else:
    _Bytes = click.ParamType  # click before 8.4 knows no type arguments

_UNITS = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_FACTORS = {unit.lower(): factor for unit, factor in _UNITS.items()}
_FACTORS |= {"": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
#: What tells a person what a piece of work was, in this order.
_TELLING = ("attack", "certifier", "student", "pruner", "neuron", "model")


class SizeType(_Bytes):
    """A size in bytes, as people write it."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read a size such as `10GB`, `1.5 GiB` or `4096`."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", value.strip(), re.ASCII)
        if found is None or found[2].lower() not in _FACTORS:
            self.fail(f"`{value}` is no size: write a number and a unit, such as 10GB or 500MB.", param, ctx)
        return int(float(found[1]) * _FACTORS[found[2].lower()])


@click.group()
def cache() -> None:
    """Look at the finished work that runs share, and make room.

    The cache is in the folder RCFRAME_CACHE, else in the platform's folder for caches.
    """


@cache.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def list_entries(as_json: bool) -> None:
    """List the work in the cache, the most recently used first."""
    from rich.console import Console

    from rcframe.storage.cache import default_cache

    entries = default_cache().entries()
    if as_json:
        click.echo(json.dumps([_entry_as_json(entry) for entry in entries], indent=2))
        return
    rows = [
        (_name(entry.identity), _told(entry.identity), _human(entry.bytes), _when(entry), entry.identity.key[:12])
        for entry in entries
    ]
    Console().print(_table(("work", "what it is", "size", "last used", "key"), rows))


@cache.command()
def size() -> None:
    """Say where the cache is and how much is in it."""
    from rcframe.storage.cache import default_cache

    found = default_cache()
    click.echo(f"{found.root}: {_counted(found.entries())}")


@cache.command()
@click.option("--keep", type=SizeType(), help="Remove the least recently used beyond this size, such as 10GB.")
@click.option(
    "--older", type=click.FloatRange(min=0), metavar="DAYS", help="Remove what was not used for so many days."
)
@click.option("--all", "everything", is_flag=True, help="Remove everything.")
def prune(keep: int | None, older: float | None, everything: bool) -> None:
    """Remove work from the cache, and what stopped processes left half-written.

    Runs that are at work lose nothing by it but the chance to find what was removed.
    """
    from rcframe.errors import RequestError
    from rcframe.storage.cache import default_cache

    if keep is None and older is None and not everything:
        raise RequestError("Nothing says what to remove: give --keep SIZE, such as 10GB, --older DAYS, or --all.")
    found = default_cache()
    removed = found.prune(0 if everything else keep, older)
    for entry in removed:
        click.echo(f"Removed {visible(_name(entry.identity))} ({_human(entry.bytes)}, last used {_when(entry)})")
    click.echo(f"Removed {_counted(removed)}; {_counted(found.entries())} left in {found.root}")


@cache.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def why(folder: Path, as_json: bool) -> None:
    """Say which work of the run in FOLDER was found, and why the rest had to be computed.

    For what was computed: in which parts the most similar work of that name that is in the cache now differs.
    """
    from rich.console import Console

    from rcframe.session.worklog import read_worklog
    from rcframe.storage.cache import default_cache, nearest_among

    work, entries = read_worklog(_worklog_in(folder)).entries, default_cache().entries()
    nearest = [nearest_among(entries, done.identity) if done.outcome == "computed" else None for done in work]
    if as_json:
        told = [_done_as_json(done, differs) for done, differs in zip(work, nearest, strict=True)]
        click.echo(json.dumps(told, indent=2))
        return
    rows = []
    for done, differs in zip(work, nearest, strict=True):
        click.echo(f"{visible(done.identity.name)}: {_outcome(done, differs)}")
        parts = [(part.part, brief(part.here), brief(part.there)) for part in differs or ()]
        rows += [(done.identity.name if not index else "", *part) for index, part in enumerate(parts)]
    if rows:
        Console().print(_table(("work", "part", "here", "there"), rows))


def _worklog_in(folder: Path) -> Path:
    from rcframe.errors import RequestError, listed

    path = folder / "work.json"
    if path.is_file():
        return path
    if not folder.is_dir():
        raise RequestError(f"There is no folder `{folder}`. Name the folder that a run was writing to.")
    inside = sorted(str(found.parent) for found in folder.glob("*/work.json"))
    hint = f"Name one of the runs in it: {listed(inside)}." if inside else "No work of a run has been finished in it."
    raise RequestError(f"`{folder}` has no `work.json`. {hint}")


def _outcome(done: Done, differs: tuple[Difference, ...] | None) -> str:
    if done.outcome == "cache":
        return "found in the cache"
    if done.outcome == "folder":
        return "found in the run's folder"
    if done.outcome == "continued":
        return f"continued where the run was stopped, in {done.seconds:.1f} s"
    near = "nothing else of this name is in the cache" if differs is None else "the nearest in the cache differs"
    return f"computed in {done.seconds:.1f} s; {near}"


def _told(identity: Identity) -> str:
    """Say what a piece of work was by the components that took part."""
    parts = identity.parts
    # What follows a teacher is determined by the teacher's weights: they stand there as a digest.
    told = ["teacher", "model"] if parts.get("role") == "teacher" else _TELLING
    return "\n".join(f"{kind} {_shortened(kind, parts[kind])}" for kind in told if kind in parts)


def _shortened(kind: str, specs: str) -> str:
    """Leave out the options that have their default values, where the plugin is installed to tell."""
    from rcframe.choice import parse_choice, shortest
    from rcframe.errors import RcframeError
    from rcframe.registry import registry

    short = []
    for spec in specs.split(PHASES):
        try:
            choice = parse_choice(spec, kind)
            short.append(shortest(choice, registry().make(kind, choice)))
        except RcframeError:
            short.append(spec)
    return PHASES.join(short)


def _name(identity: Identity) -> str:
    return identity.name or "written by a newer rcframe"


def _human(count: int) -> str:
    """Return a number of bytes in the largest unit that leaves one or more of it."""
    unit = next(unit for unit in reversed(_UNITS) if count >= _UNITS[unit] or unit == "B")
    return f"{count} B" if unit == "B" else f"{count / _UNITS[unit]:.1f} {unit}"


def _counted(entries: Sequence[Entry]) -> str:
    noun = "entry" if len(entries) == 1 else "entries"
    return f"{len(entries)} {noun}, {_human(sum(entry.bytes for entry in entries))}"


def _when(entry: Entry) -> str:
    return f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        # As `Text`, so that brackets in names are not read as markup.
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table


def _entry_as_json(entry: Entry) -> dict[str, object]:
    return {
        "name": entry.identity.name,
        "key": entry.identity.key,
        "path": str(entry.path),
        "bytes": entry.bytes,
        "used": datetime.fromtimestamp(entry.used, UTC).isoformat(timespec="seconds"),
        "determined_by": dict(entry.identity.parts),
    }


def _done_as_json(done: Done, differs: tuple[Difference, ...] | None) -> dict[str, object]:
    return {
        "name": done.identity.name,
        "outcome": done.outcome,
        "seconds": done.seconds,
        "key": done.identity.key,
        "nearest_differs_in": None
        if differs is None
        else [{"part": part.part, "here": part.here, "there": part.there} for part in differs],
    }

"""Where the figures come from, how to have them again, and why to distrust some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rcframe.errors import listed
from rcframe.evaluation.trust.flag import kind_of
from rcframe.findings.folders import Collection, Group
from rcframe.findings.overview import flags_of
from rcframe.findings.settings import MACHINE
from rcframe.findings.tables import NOTHING, Table
from rcframe.reporting.section import Command, Section, Warned

_ASIDE = (*MACHINE, "seed")
_TRUST = (
    "Each warning is a reason to distrust a figure, with the runs that it belongs to. What was measured for it, how "
    "often it is wrong and what to do stands in `docs/trust.md` of rcframe, by its name."
)


def section(collection: Collection) -> Section:
    """Return the section on provenance."""
    groups = collection.groups
    common, differing = _split(groups)
    tables = [_runs(groups)]
    if differing:
        rows = [(group.name, *_of(group, differing)) for group in groups]
        tables.append(_settings("Settings that differ", ("run", *differing), rows))
    shared = list(zip(common, _of(groups[0], common), strict=True))
    folded = (_settings("Settings of all runs", ("setting", "value"), shared), _versions(groups))
    return Section(
        name="provenance",
        title="Provenance",
        says=(_TRUST,) if any(flags_of(group) for group in groups) else (),
        tables=tuple(tables),
        folded=folded,
        warnings=tuple(_warnings(groups)),
        commands=tuple(_commands(collection)),
    )


def _runs(groups: Sequence[Group]) -> Table:
    rows = []
    for group in groups:
        reports = [run.report for run in group.runs]
        seeds = ", ".join(map(str, group.seeds))
        seconds = sum(report.seconds for report in reports)
        devices = ", ".join(dict.fromkeys(report.device for report in reports))
        rows.append(
            (
                group.name,
                seeds,
                devices,
                f"{seconds:,.0f}",
                f"{reports[0].queries.images:,}",
                group.first.path.as_posix(),
            )
        )
    columns = ("run", "seeds", "device", "seconds in all", "images asked of the teacher", "first folder")
    return Table("Runs", columns, tuple(rows))


def _split(groups: Sequence[Group]) -> tuple[list[str], list[str]]:
    """Return the settings that all groups share, and those in which some differ."""
    names = dict.fromkeys(name for group in groups for name in group.first.settings if name not in _ASIDE)
    differing = [name for name in names if len({group.first.settings.get(name) for group in groups}) > 1]
    return [name for name in names if name not in differing], differing


def _of(group: Group, names: Sequence[str]) -> list[str]:
    return [group.first.settings.get(name, NOTHING) for name in names]


def _settings(title: str, columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Table:
    return Table(title, tuple(columns), tuple(rows))


def _versions(groups: Sequence[Group]) -> Table:
    found: dict[str, dict[str, None]] = {}
    for group in groups:
        for run in group.runs:
            for name, version in run.report.versions.items():
                found.setdefault(name, {})[version] = None
    return Table(
        "Versions", ("package", "version"), tuple((name, ", ".join(versions)) for name, versions in found.items())
    )


def _warnings(groups: Sequence[Group]) -> Iterator[Warned]:
    named: dict[str, list[str]] = {}
    for group in groups:
        for flag in flags_of(group):
            named.setdefault(flag, []).append(_bearer(group, flag))
    everywhere = [group.name for group in groups]
    for flag, names in named.items():
        whose = "all configurations" if len(groups) > 1 and names == everywhere else "; ".join(names)
        kind = kind_of(flag)
        # After its kind, a sentence goes on.
        said = str(flag) if kind else f"{flag[:1].upper()}{flag[1:]}"
        yield Warned(kind[:1].upper() + kind[1:], f"{said.rstrip('.')}. ({whose})")


def _bearer(group: Group, flag: str) -> str:
    """Name a group, and those of its seeds that carry a flag where others do not."""
    seeds = [run.report.seed for run in group.runs if flag in run.report.flags]
    if len(seeds) == len(group.runs):
        return group.name
    return f"{group.name}, seed{'s' * (len(seeds) > 1)} {listed(map(str, seeds))}"


def _commands(collection: Collection) -> Iterator[Command]:
    for matrix in collection.matrices:
        yield Command(f"All runs of {matrix.title}", matrix.command)
    for group in collection.groups:
        commands = dict.fromkeys(run.report.command for run in group.runs)
        yield Command(group.name, "\n".join(commands))

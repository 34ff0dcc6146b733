"""What was set otherwise in one run than in another: settings, versions, code and machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import attrs

from rcframe.findings.folders import FoundRun
from rcframe.findings.settings import MACHINE
from rcframe.findings.tables import NOTHING
from rcframe.session.config import read_config
from rcframe.session.layout import RunFiles
from rcframe.session.worklog import read_worklog

#: What a change can do to results.
Effect = Literal["any", "rounding", "none"]
#: Settings and facts by which results differ by rounding, if at all.
_ROUNDING = ("device", "threads", "processes", "platform")
_CODE = "code of "


@attrs.frozen
class Change:
    """Something that was set otherwise."""

    name: str
    first: str
    second: str
    effect: Effect


def changes(first: FoundRun, second: FoundRun) -> tuple[Change, ...]:
    """Return what was set otherwise in a second run than in a first: settings, then software, then the machine."""
    found = [*_of_settings(first, second), *_of_versions(first, second)]
    versions = {change.name.removeprefix("version of ").replace("-", "_") for change in found}
    # Another version has other code, which need not be said.
    found += [change for change in _of_code(first, second) if change.name.removeprefix(_CODE) not in versions]
    return (*found, *_between("", _environment(first), _environment(second)))


def _of_settings(first: FoundRun, second: FoundRun) -> Iterator[Change]:
    for part in dict.fromkeys(map(_part, (*first.settings, *second.settings))):
        mine, theirs = _settings_of(first, part), _settings_of(second, part)
        if _names(mine) != _names(theirs):
            # The options of another method are no changes of this one's.
            yield _change(part, _words(first, part), _words(second, part))
        else:
            yield from _between("", mine, theirs)


def _part(name: str) -> str:
    """Return the setting of a run that `attack 2.steps` belongs to: `attack`."""
    return name.partition(".")[0].partition(" ")[0]


def _settings_of(run: FoundRun, part: str) -> dict[str, str]:
    return {name: text for name, text in run.settings.items() if _part(name) == part}


def _names(settings: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in settings.items() if "." not in name}


def _words(run: FoundRun, part: str) -> str:
    return run.typed.get(part) or ", ".join(_names(_settings_of(run, part)).values()) or NOTHING


def _of_versions(first: FoundRun, second: FoundRun) -> Iterator[Change]:
    yield from _between("version of ", *_shared(first.report.versions, second.report.versions))


def _of_code(first: FoundRun, second: FoundRun) -> Iterator[Change]:
    yield from _between("", *_shared(_code(first), _code(second)))


def _shared(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Leave out packages that only one side uses: that follows from its settings."""
    both = [name for name in first if name in second]
    return {name: first[name] for name in both}, {name: second[name] for name in both}


def _code(run: FoundRun) -> dict[str, str]:
    """Return digests of the source that took part in a run, by package."""
    digests: dict[str, set[str]] = {}
    for entry in read_worklog(RunFiles(run.path).worklog).entries:
        for name, digest in entry.identity.parts.items():
            if name.startswith(_CODE):
                digests.setdefault(name, set()).add(digest[:8])
    return {name: "+".join(sorted(found)) for name, found in digests.items()}


def _environment(run: FoundRun) -> dict[str, str]:
    found = read_config(RunFiles(run.path).config).get("environment")
    facts = found if isinstance(found, Mapping) else {}
    return {name: str(facts[name]) for name in ("processes", "platform") if name in facts}


def _between(prefix: str, first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Change]:
    for name in dict.fromkeys((*first, *second)):
        if first.get(name) != second.get(name):
            yield _change(f"{prefix}{name}", _shown(first.get(name)), _shown(second.get(name)))


def _shown(text: str | None) -> str:
    return NOTHING if text is None else text or "(empty)"


def _change(name: str, first: str, second: str) -> Change:
    return Change(name, first, second, "rounding" if name in _ROUNDING else "none" if name in MACHINE else "any")

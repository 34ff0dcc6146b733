"""Finding runs in folders: of one run, of one repeated with several seeds, of a matrix, or of anything above those."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from rcframe.errors import RequestError
from rcframe.findings.records import (
    FoundReproduction,
    MatrixRecord,
    ReproductionRecord,
    RowRecord,
    Status,
    read_matrix,
    read_reproduction,
)
from rcframe.findings.settings import MACHINE, flat
from rcframe.session.config import read_config
from rcframe.session.evidence import Evidence, read_evidence
from rcframe.session.layout import MATRIX, RunFiles
from rcframe.session.metrics import Line, read_metrics
from rcframe.session.report import Report
from rcframe.session.results import read_result

#: Settings whose parts follow each other.
_PHASES = ("student", "pruner")
_SEED_FOLDERS = "seed-*"
#: Why a run of a matrix has no results, where nothing else is said.
_REASONS: Mapping[Status, str] = {
    "done": "its folder is gone",
    "failed": "it failed",
    "interrupted": "it was interrupted",
    "waiting": "it has not begun",
}


@attrs.frozen(eq=False)
class FoundRun:
    """A finished run."""

    path: Path
    report: Report
    #: Every setting by name, as in `run.toml`.
    settings: Mapping[str, str]
    #: Spec strings of its parts as they were typed, by setting.
    typed: Mapping[str, str]
    #: Its row in a matrix, if it belongs to one.
    row: RowRecord | None = None

    @functools.cached_property
    def evidence(self) -> Evidence | None:
        """What the run kept for a closer look; None if that is gone."""
        path = RunFiles(self.path).evidence
        return read_evidence(path) if path.is_file() else None

    @property
    def curves(self) -> list[Line]:
        """The training curves."""
        return list(read_metrics(RunFiles(self.path).metrics))

    @property
    def essence(self) -> tuple[tuple[str, str], ...]:
        """What the run is apart from its seed and machine: equal for runs that repeat each other."""
        aside = {*MACHINE, "seed"}
        named = (("row", self.row.name),) if self.row else ()
        measured = ("images", str(self.report.student.clean.n))
        return (*named, measured, *sorted((name, text) for name, text in self.settings.items() if name not in aside))

    @property
    def home(self) -> Path:
        """The folder that people know the run by: of one seed among several, the folder of all."""
        path = self.path.resolve()
        return path.parent if path.match(_SEED_FOLDERS) and RunFiles(path.parent).config.is_file() else path


@attrs.frozen
class Unfinished:
    """A run without results."""

    path: Path
    name: str
    reason: str


@attrs.frozen(eq=False)
class Group:
    """Runs that differ in nothing but the seed, one of each."""

    name: str
    #: In the order of their seeds.
    runs: tuple[FoundRun, ...]
    #: What was varied on purpose, by axis: of a matrix its labels, else the settings that differ among the groups.
    labels: Mapping[str, str]

    @property
    def first(self) -> FoundRun:
        """The run with the lowest seed."""
        return self.runs[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds."""
        return tuple(run.report.seed for run in self.runs)


@attrs.frozen(eq=False)
class Collection:
    """All runs of some folders."""

    groups: tuple[Group, ...]
    unfinished: tuple[Unfinished, ...]
    matrices: tuple[MatrixRecord, ...] = ()
    reproduced: tuple[FoundReproduction, ...] = ()

    @property
    def reproductions(self) -> tuple[ReproductionRecord, ...]:
        """What all reproductions found."""
        return tuple(found.record for found in self.reproduced)

    @property
    def runs(self) -> tuple[FoundRun, ...]:
        """All finished runs."""
        return tuple(run for group in self.groups for run in group.runs)


def collect(folders: Sequence[Path]) -> Collection:
    """Read every run in these folders, each once; folders that hold no run are refused by name."""
    places: dict[Path, Path] = {}
    for folder in folders:
        inner = list(_places(folder, set()))
        if not inner:
            raise RequestError(_no_runs(folder))
        for place in inner:
            places.setdefault(place.resolve(), place)
    matrices = {place: read_matrix(place) for place in places.values() if (place / MATRIX).is_file()}
    reproduced = [FoundReproduction(place, found) for place in matrices if (found := read_reproduction(place))]
    runs: dict[Path, FoundRun] = {}
    unfinished: dict[Path, Unfinished] = {}
    for place in places.values():
        for item in _runs(place, matrices.get(place)):
            key = item.path.resolve()
            if isinstance(item, Unfinished):
                unfinished.setdefault(key, item)
            elif item.row or key not in runs:
                runs[key] = item
    return Collection(
        _grouped(list(runs.values())), tuple(unfinished.values()), tuple(matrices.values()), tuple(reproduced)
    )


def _no_runs(folder: Path) -> str:
    if not folder.exists():
        return f"`{folder}` does not exist. Name the folder of a run or a matrix."
    return f"`{folder}` holds no run: there is no `run.toml` in it or below it, and no `{MATRIX}`."


def _places(folder: Path, entered: set[Path]) -> Iterator[Path]:
    """Yield the folders of runs and matrices in a folder, at whatever depth they are."""
    if (folder / MATRIX).is_file() or RunFiles(folder).config.is_file():
        yield folder
    elif folder.is_dir() and folder.resolve() not in entered:
        # Links may lead back up.
        entered.add(folder.resolve())
        for inner in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
            yield from _places(inner, entered)


def _runs(place: Path, matrix: MatrixRecord | None) -> Iterator[FoundRun | Unfinished]:
    if matrix:
        for row in matrix.rows:
            yield _run(place / row.folder, row)
    elif any(_seed_folders(place)):
        yield from _of_seeds(place)
    else:
        yield _run(place)


def _seed_folders(place: Path) -> Iterator[Path]:
    return (config.parent for config in sorted(place.glob(f"{_SEED_FOLDERS}/run.toml")))


def _of_seeds(place: Path) -> Iterator[FoundRun | Unfinished]:
    """Yield the runs of one that is repeated with several seeds, also those that have not begun."""
    files = RunFiles(place)
    present = list(_seed_folders(place))
    asked = read_config(files.config)
    first, count = asked.get("seed", 0), asked.get("seeds", 1)
    if isinstance(first, int) and isinstance(count, int):
        missing = [path for seed in range(first, first + count) if (path := files.of_seed(seed)) not in present]
        reason = _REASONS["done" if files.report.is_file() else "waiting"]
        yield from (Unfinished(path, path.name, reason) for path in missing)
    for path in present:
        yield _run(path)


def _run(path: Path, row: RowRecord | None = None) -> FoundRun | Unfinished:
    files = RunFiles(path)
    name = row.name if row else path.name
    if not files.report.is_file():
        return Unfinished(path, name, (row.reason or _REASONS[row.status]) if row else _why_unfinished(files))
    result, document = read_result(files.report), read_config(files.config)
    if not isinstance(result, Report):
        return Unfinished(path, name, "the folders of its seeds are gone")
    return FoundRun(path, result, flat(document), _typed(document), row)


def _typed(document: Mapping[str, object]) -> dict[str, str]:
    words = document.get("typed")
    return {
        setting: (" then " if setting in _PHASES else ", ").join(map(str, texts))
        for setting, texts in (words.items() if isinstance(words, Mapping) else ())
        if isinstance(texts, list)
    }


def _why_unfinished(files: RunFiles) -> str:
    begun = files.worklog.is_file() or files.progress.is_dir()
    return "it was stopped, or still runs" if begun else "it has just begun"


# -- naming ---------------------------------------------------------------------------------------------------------


def _grouped(runs: Sequence[FoundRun]) -> tuple[Group, ...]:
    """Put runs together that differ in nothing but the seed.

    A seed that was run twice is no second seed: it belongs to another group, or their spread would be too small.
    """
    together: dict[tuple[tuple[tuple[str, str], ...], int], list[FoundRun]] = {}
    times: Counter[tuple[tuple[tuple[str, str], ...], int]] = Counter()
    for run in runs:
        once = (run.essence, run.report.seed)
        together.setdefault((run.essence, times[once]), []).append(run)
        times[once] += 1
    several = [sorted(same, key=lambda run: run.report.seed) for same in together.values()]
    # The rows of a matrix have their names.
    told_apart = _differing([same[0] for same in several if not same[0].row])
    return _unique([_group(same, told_apart) for same in several])


def _group(runs: Sequence[FoundRun], told_apart: Sequence[str]) -> Group:
    first = runs[0]
    if first.row:
        return Group(first.row.name, tuple(runs), first.row.labels)
    labels = {name: _words(first, name) for name in told_apart}
    name = ", ".join(_titled(name, words) for name, words in labels.items())
    return Group(name or first.home.name, tuple(runs), labels)


def _differing(runs: Sequence[FoundRun]) -> list[str]:
    """Name the settings that tell runs apart: parts as typed, and plain settings."""
    names = dict.fromkeys(name for run in runs for name in (*run.typed, *run.settings))
    shown = [name for name in names if name not in (*MACHINE, "seed") and "." not in name and not name[-1].isdigit()]
    return [name for name in shown if len({_words(run, name) for run in runs}) > 1]


def _words(run: FoundRun, name: str) -> str:
    return run.typed.get(name) or run.settings.get(name, "none")


def _titled(name: str, words: str) -> str:
    """Say what plain values are; spec strings speak for themselves."""
    return words if words[:1].isalpha() and words not in ("none", "true", "false") else f"{name} {words}"


def _unique(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Tell groups of one name apart by their folders."""
    alike: dict[str, list[Group]] = {}
    for group in groups:
        alike.setdefault(group.name, []).append(group)
    ends = {
        group: end
        for same in alike.values()
        if len(same) > 1
        for group, end in zip(same, _ends([group.first.home for group in same]), strict=True)
    }
    return tuple(
        attrs.evolve(group, name=f"{group.name} ({ends[group]})") if group in ends else group for group in groups
    )


def _ends(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of paths that tell them apart, as far as they do."""
    ends: list[str] = []
    for count in range(1, max(len(path.parts) for path in paths) + 1):
        ends = ["/".join(path.parts[-count:]) for path in paths]
        if len(set(ends)) == len(ends):
            break
    return ends

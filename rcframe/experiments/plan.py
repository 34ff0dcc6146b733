"""The plan of a matrix: every run with its settings, what the runs share, and which of them cannot be."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from rcframe.errors import RequestError
from rcframe.experiments.matrix_file import MatrixFile, Row, Settings
from rcframe.guarding import guards_of, trained_part
from rcframe.options import values_of
from rcframe.session.assemble import Parts, Refusal, build_parts, check_settings
from rcframe.session.config import (
    INFORMATION,
    SETTINGS,
    RunConfig,
    choices_of,
    label,
    make_config,
    options_by_part,
    plain_of,
    set_option,
    typed,
    write_config,
)

#: Parts of a run that may be absent; `none` says so.
_MAY_BE_NONE = ("student_model", "neuron", "pruner", "attack", "certifier")


@attrs.frozen(kw_only=True)
class PlannedRun:
    """One run of a matrix."""

    #: Unique in the matrix, and the same whenever the same run is planned.
    id: str
    name: str
    labels: Mapping[str, str]
    config: RunConfig
    parts: Parts
    #: Why its parts do not fit each other, as far as that shows before it starts; empty if they do.
    refusal: str = ""

    def toml(self) -> str:
        """Return the `run.toml` that carries it out."""
        return write_config(self.config, self.parts.by_setting(), {"typed": typed(self.config)})


@attrs.frozen
class Shared:
    """How often a piece of work is asked for, and how often it has to be done."""

    asked: int
    distinct: int


@attrs.frozen(kw_only=True)
class Plan:
    """All runs of a matrix."""

    title: str
    axes: tuple[str, ...]
    runs: tuple[PlannedRun, ...]

    @functools.cached_property
    def possible(self) -> tuple[PlannedRun, ...]:
        """The runs that can be, those first whose teachers differ, so that few have to wait for each other."""
        turn: dict[Hashable, int] = {}
        turns: list[tuple[int, int, PlannedRun]] = []
        for run in (run for run in self.runs if not run.refusal):
            key = _teacher(run)
            turn[key] = turn.get(key, -1) + 1
            turns.append((turn[key], len(turns), run))
        return tuple(run for _, _, run in sorted(turns, key=lambda item: item[:2]))

    def reading(self, data_root: Path | None) -> Plan:
        """Return this plan with the files of data sets in another folder, if one is given; no run becomes another."""
        if data_root is None:
            return self
        root = str(data_root.expanduser().resolve())
        runs = (attrs.evolve(run, config=attrs.evolve(run.config, data_root=root)) for run in self.runs)
        return attrs.evolve(self, runs=tuple(runs))

    @property
    def teachers(self) -> Shared:
        """The trainings of teachers."""
        return _shared([_teacher(run) for run in self.possible])

    @property
    def students(self) -> Shared:
        """The trainings of students."""
        return _shared([_student(run) for run in self.possible])

    @property
    def measurements(self) -> Shared:
        """The measurements of both."""
        return _shared([measured for run in self.possible for measured in _measurements(run)])


def make_plan(matrix: MatrixFile, seeds: int | None = None) -> Plan:
    """Build and check every run of a matrix; `seeds` overrides how often each is repeated."""
    runs = tuple(run for row in matrix.rows() for run in _repeated(row, seeds or matrix.seeds))
    if not runs:
        raise RequestError(f"The matrix `{matrix.title}` is empty: [[exclude]] leaves out every combination.")
    _refuse_twins(runs)
    axes = [axis.name for axis in matrix.axes if axis.name != "seed"]
    return Plan(title=matrix.title, axes=tuple(dict.fromkeys([*axes, *(["row"] if matrix.own else [])])), runs=runs)


def _repeated(row: Row, seeds: int) -> Iterator[PlannedRun]:
    try:
        config = configure(row.settings)
        parts = build_parts(config)
        config = label(config, parts.by_setting())
        refusal = ""
        try:
            check_settings(config, parts)
        except Refusal as refused:
            refusal = str(refused)
    except RequestError as error:
        raise RequestError(f"In the run `{row.name}`: {error}") from error
    brought = _brought(parts)
    for seed in range(config.seed, config.seed + seeds):
        one = attrs.evolve(config, seed=seed)
        # With its name, since names that are written alike in a file's name may belong to equal settings.
        text = f"{row.name}\n{_settled(one)}\n{parts!r}\n{brought}"
        yield PlannedRun(
            id=f"{_slug(row.name)}-{seed}-{hashlib.sha256(text.encode()).hexdigest()[:10]}",
            name=row.name,
            labels=row.labels,
            config=one,
            parts=parts,
            refusal=refusal,
        )


def configure(settings: Settings) -> RunConfig:
    """Return the configuration of a run from settings, of which some are options written as `part.option`."""
    whole = {key: value for key, value in settings.items() if "." not in key}
    named = {key: value for key, value in whole.items() if value != "none" or key not in _MAY_BE_NONE}
    written = config = make_config({key: value for key, value in named.items() if key in SETTINGS})
    if unknown := next((key for key in whole if key not in SETTINGS), None):
        _refuse_unknown(unknown, whole[unknown], config)
    for key, value in settings.items():
        part, dot, option = key.partition(".")
        if dot:
            _refuse_twice(written, part, option)
            config = set_option(config, part, option, value)
    return config


def _refuse_twice(written: RunConfig, part: str, option: str) -> None:
    """Refuse to change an option behind the back of a spec string that names it, and labels what it varies."""
    for choice in choices_of(written, part):
        if option in choice.options:
            raise RequestError(
                f"Option `{option}` of the {part} is given twice: in `{choice}` and as `{part}.{option}`."
            )


def _refuse_unknown(key: str, value: object, config: RunConfig) -> None:
    """Say what a setting is that no run has, and how it is written if it is an option of a part."""
    if key in INFORMATION:
        raise RequestError(f"`{key}` is what a run writes for its reader, and sets nothing: leave it out.")
    if parts := [part for part, names in options_by_part(config).items() if key in names]:
        words = " or ".join(f'"{part}.{key}"' for part in parts)
        raise RequestError(f"A run has no setting `{key}`. As an option of a part it is written {words}, in quotes.")
    make_config({key: value})


def _refuse_twins(runs: Sequence[PlannedRun]) -> None:
    """Refuse runs that could not be told apart, or that are done twice."""
    seen: dict[tuple[str, int], PlannedRun] = {}
    for run in runs:
        twin = seen.setdefault((run.name, run.config.seed), run)
        if twin is not run:
            raise RequestError(
                f"Two runs of the matrix are called `{run.name}` (seed {run.config.seed}): give what is varied labels "
                f"of its own, or rename a [[row]]."
            )


def _brought(parts: Parts) -> str:
    """Write down the files and folders that components name, so that other ones in their place make another run."""
    texts = {
        value
        for components in parts.by_setting().values()
        for built in components
        for value in values_of(built).values()
        if isinstance(value, str) and value
    }
    found = []
    for text in sorted(texts):
        path = Path(text)
        with contextlib.suppress(OSError, ValueError):
            facts = path.stat()
            found.append((str(path.resolve()), facts.st_size, facts.st_mtime_ns))
    return repr(found)


def _settled(config: RunConfig) -> str:
    """Write down the settings of a run that are not components."""
    return repr(plain_of(config))


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48] or "run"


# -- what is shared ---------------------------------------------------------------------------------------------------


def _shared(keys: Sequence[Hashable]) -> Shared:
    return Shared(len(keys), len(set(keys)))


def _teacher(run: PlannedRun) -> Hashable:
    """What the training of a teacher depends on."""
    config, parts = run.config, run.parts
    machine = (config.seed, config.device, config.threads, config.precision, config.deterministic)
    return (*machine, parts.data, parts.model, trained_part(parts.teacher))


def _student(run: PlannedRun) -> Hashable:
    """What the training of a student depends on."""
    config, parts = run.config, run.parts
    granted = (config.access, config.budget)
    guards = guards_of(parts.teacher)
    return (_teacher(run), *guards, *granted, parts.student_model, parts.students, parts.pruners, parts.neuron)


def _measurements(run: PlannedRun) -> Iterator[Hashable]:
    config, parts = run.config, run.parts
    for network in (_teacher(run), _student(run)):
        yield (network, config.eval_size)
        for method in (*parts.attacks, *parts.certifiers):
            yield (network, config.eval_size, str(config.eps), config.curve, config.norm, method)

"""The library: components by name, and whole runs, without the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rcframe.api import (
    Attack,
    Certifier,
    Component,
    Model,
    NeuronModel,
    Pruner,
    StudentStrategy,
    Teacher,
)
from rcframe.choice import Choice, format_choice, parse_choice
from rcframe.errors import RequestError
from rcframe.registry import registry
from rcframe.session.config import Chosen, make_config

if TYPE_CHECKING:
    from rcframe.findings.folders import Collection
    from rcframe.session.conduct import Conductor
    from rcframe.session.report import Report
    from rcframe.session.seeds import SeedsReport

K = TypeVar("K", bound=Component)


def _make(kind: str, spec: str, options: Mapping[str, object]) -> Component:
    choice = parse_choice(spec, kind)
    for name in options:
        if name in choice.options:
            raise RequestError(f"Option `{name}` of `{choice.name}` is given twice: in `{spec}` and as an argument.")
    return registry().make(kind, Choice(choice.name, {**choice.options, **options}, choice.distribution))


def model(spec: str, **options: object) -> Model:
    """Return a model by name; `build(info)` makes its network for a data set. Added in API 1.4."""
    return cast(Model, _make("model", spec, options))


def teacher(spec: str, **options: object) -> Teacher:
    """Return a teacher by name, such as `teacher("plain", epochs=5)`."""
    return cast(Teacher, _make("teacher", spec, options))


def student(spec: str, **options: object) -> StudentStrategy:
    """Return a student strategy by name."""
    return cast(StudentStrategy, _make("student", spec, options))


def pruner(spec: str, **options: object) -> Pruner:
    """Return a pruner by name; a one-shot pruner has `apply(model, x)`."""
    return cast(Pruner, _make("pruner", spec, options))


def neuron(spec: str, **options: object) -> NeuronModel:
    """Return a neuron model by name; `convert(model)` makes a network spike."""
    return cast(NeuronModel, _make("neuron", spec, options))


def attack(spec: str, **options: object) -> Attack:
    """Return an attack by name; call it as `attack(model, x, y, eps=8/255)`."""
    return cast(Attack, _make("attack", spec, options))


def certifier(spec: str, **options: object) -> Certifier:
    """Return a certifier by name; call it as `certifier(model, x, y, eps=0.01)`."""
    return cast(Certifier, _make("certifier", spec, options))


def spelled(component: Component) -> str:
    """Return the spec string that builds a component again, with every option spelled out. Added in API 1.4."""
    return format_choice(registry().choice_of(component))


def run(
    *,
    data: Chosen | None = None,
    model: Chosen | None = None,
    student_model: Chosen | None = None,
    teacher: Chosen | None = None,
    student: Chosen | Sequence[Chosen] | None = None,
    pruner: Chosen | Sequence[Chosen] | None = None,
    neuron: Chosen | None = None,
    access: str | None = None,
    budget: int | None = None,
    attack: Chosen | Sequence[Chosen] | None = None,
    certifier: Chosen | Sequence[Chosen] | None = None,
    eps: float | str | Sequence[float | str] | None = None,
    norm: str | None = None,
    eval_size: int | None = None,
    radii: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    precision: str | None = None,
    deterministic: bool | None = None,
    threads: int | None = None,
    workers: int | None = None,
    checkpoint: float | None = None,
    data_root: str | None = None,
    out: str | Path | None = None,
    cache: bool = True,
) -> Report:
    """Carry out a run and return its report; arguments mean what the flags of `rcframe run` mean.

    Components are given as spec strings, as tables with a `name`, or as components. Only the cache is written to, and
    the folder `out` if it is named.
    """
    given = {name: value for name, value in locals().items() if name not in ("out", "cache") and value is not None}
    return cast("Report", _start(given, out, cache))


def repeat(seeds: int, *, out: str | Path | None = None, cache: bool = True, **settings: Any) -> SeedsReport:
    """Carry out a run with `seeds` seeds, counted up from `seed`, and return means, spreads and intervals.

    `settings` are the arguments of `run`.
    """
    if seeds < 2:
        raise RequestError(f"A run cannot be repeated with {seeds} seeds: ask for 2 or more, or use `run`.")
    given = {name: value for name, value in settings.items() if value is not None}
    return cast("SeedsReport", _start({**given, "seeds": seeds}, out, cache))


def resume(folder: str | Path, *, cache: bool = True, despite_changes: bool = False) -> Report | SeedsReport:
    """Go on with the run in a folder as if it had never stopped, and return its report.

    A run whose code or settings have changed meanwhile is refused, unless it is to go on `despite_changes`.
    """
    return _conductor(cache, despite_changes).resume(Path(folder)).result


def matrix(
    what: str | Path | Mapping[str, object],
    *,
    out: str | Path,
    engine: str = "local",
    seeds: int | None = None,
    cache: bool = True,
) -> Collection:
    """Carry out many runs and return what they found; `what` is the file of a matrix, or what such a file holds.

    The folder `out` is gone on with if it holds this matrix already. A run that fails does not stop the others; if
    there is one, RunFailed says so at the end.
    """
    from rcframe.experiments.conduct import Request, carry_out
    from rcframe.experiments.matrix import refuse_unless_done
    from rcframe.experiments.matrix_file import parse_matrix, read_matrix_file
    from rcframe.findings.folders import collect

    folder = Path(out)
    read = parse_matrix(what, folder.name, "The matrix") if isinstance(what, Mapping) else read_matrix_file(Path(what))
    request = Request(
        folder=folder, engine=engine, command=f"rcframe.matrix(out={str(out)!r})", seeds=seeds, share=cache, quiet=True
    )
    record = carry_out(read, request)
    assert record is not None, "only a dry run has no record"
    refuse_unless_done(record, folder)
    return collect([folder])


def _start(given: Mapping[str, object], out: str | Path | None, cache: bool) -> Report | SeedsReport:
    config = make_config(given)
    words = ", ".join(f"{name}={value!r}" for name, value in given.items())
    function = "repeat" if "seeds" in given else "run"
    return (
        _conductor(cache).start(config, f"rcframe.{function}({words})", Path(out) if out is not None else None).result
    )


def _conductor(cache: bool, despite_changes: bool = False) -> Conductor:
    from rcframe.session.conduct import Conductor
    from rcframe.storage.cache import default_cache

    return Conductor(cache=default_cache() if cache else None, despite_changes=despite_changes)

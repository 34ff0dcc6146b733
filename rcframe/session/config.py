"""What a run is asked to do: read from flags and TOML, merged, checked, and written back so that it can be repeated."""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

import attrs
import tomlkit

from rcframe.access import parse_access
from rcframe.api import Component, Norm, Precision
from rcframe.choice import Choice, parse_choice, shortest
from rcframe.errors import RequestError, listed, nearest
from rcframe.options import Number, Value, options_of, settable, values_of
from rcframe.registry import registry
from rcframe.session.eps import read_eps

#: What a user may write for one component: a spec string, a table with `name`, a choice, or a component itself.
Chosen = str | Mapping[str, object] | Choice | Component

DEFAULT_DATA = "digits"
DEFAULT_MODEL = "convnet"


@attrs.frozen(kw_only=True)
class RunConfig:
    """One run, as asked."""

    data: Choice = attrs.field(factory=lambda: Choice(DEFAULT_DATA))
    model: Choice = attrs.field(factory=lambda: Choice(DEFAULT_MODEL))
    #: None means the same as `model`.
    student_model: Choice | None = None
    teacher: Choice = attrs.field(factory=lambda: Choice("plain"))
    #: Phases of one student, each starting from the weights of the one before.
    students: tuple[Choice, ...] = attrs.field(factory=lambda: (Choice("plain"),))
    pruners: tuple[Choice, ...] = ()
    neuron: Choice | None = None
    access: str = "logit"
    #: Most images the student may send to the teacher, or None.
    budget: int | None = None
    attacks: tuple[Choice, ...] = ()
    certifiers: tuple[Choice, ...] = ()
    #: Radius in pixels as typed, the largest where there are several; None takes the data set's customary one.
    eps: Number | None = None
    #: All radii where there are several, from the smallest to the largest, and how they were typed.
    curve: tuple[Number, ...] = ()
    curve_typed: str = ""
    norm: Norm = "linf"
    #: Test images that are evaluated, 0 for all.
    eval_size: int = 0
    #: How many of them have their certified radius searched.
    radii: int = 0
    seed: int = 0
    device: str = "auto"
    #: Processor threads; None takes one for small images and torch's own choice for others.
    threads: int | None = None
    precision: Precision = "fp32"
    #: Refuse every operation that has no deterministic implementation.
    deterministic: bool = False
    #: Processes that fetch and change training images ahead.
    workers: int = 0
    #: Seconds of work after which its state is written, 0 after every batch.
    checkpoint: float = 5.0
    #: How many seeds to repeat the run with, counted up from `seed`.
    seeds: int = 1
    #: Where data files belong; None means `RCFRAME_DATA` or the platform's data folder.
    data_root: str | None = None


#: The part of `RunConfig` each kind fills, and whether it holds one component or several.
_ONE = {"data": "data", "model": "model", "student_model": "model", "teacher": "teacher", "neuron": "neuron"}
_MANY = {"student": "students", "pruner": "pruners", "attack": "attacks", "certifier": "certifiers"}
_COUNTS = ("seed", "seeds", "eval_size", "radii", "budget", "threads", "workers")
_TEXTS = ("access", "norm", "device", "precision", "data_root")
_SWITCHES = ("deterministic",)
_SECONDS = ("checkpoint",)
#: Settings of a run that are no components.
PLAIN = (*_TEXTS, "eps", *_COUNTS, *_SWITCHES, *_SECONDS)
#: The settings of a run that name its parts, and every setting, as they are called in a `run.toml`.
PARTS = (*_ONE, *_MANY)
SETTINGS = (*PARTS, *PLAIN)
#: Written by a run for the reader; ignored when the file is run again.
INFORMATION = ("format", "command", "typed", "as_begun", "versions", "environment")
#: What a run that goes on may do otherwise: no result depends on it.
FREE = ("data_root", "workers", "checkpoint")
_FORMAT = 1


def make_config(given: Mapping[str, object], base: RunConfig | None = None) -> RunConfig:
    """Build a configuration from user input; what is None or missing keeps the value of `base`."""
    changes: dict[str, object] = {}
    for key, value in given.items():
        if key in INFORMATION or value is None:
            continue
        if key in _ONE:
            changes[key] = as_choice(cast(Chosen, value), _ONE[key])
        elif key in _MANY:
            several = value if isinstance(value, list | tuple) else [value]
            changes[_MANY[key]] = tuple(as_choice(cast(Chosen, item), key) for item in several)
        elif key == "eps":
            eps = read_eps(value)
            changes |= {"eps": eps.largest, "curve": eps.curve, "curve_typed": eps.typed if eps.curve else ""}
        elif key in PLAIN:
            changes[key] = _plain(key, value)
        else:
            raise RequestError(f"A run has no setting `{key}`.{nearest(key, SETTINGS)} Settings: {listed(SETTINGS)}.")
    config = attrs.evolve(base or RunConfig(), **cast("dict[str, Any]", changes))  # each was checked above
    if not config.students:
        raise RequestError("A run needs a student; name one, for example `plain`.")
    parse_access(config.access)
    return config


def as_choice(chosen: Chosen, kind: str) -> Choice:
    """Read one component however it was given."""
    if isinstance(chosen, Choice):
        return chosen
    if isinstance(chosen, str):
        return parse_choice(chosen, kind)
    if isinstance(chosen, Component):
        return registry().choice_of(chosen)
    if isinstance(chosen, Mapping):
        options = dict(chosen)
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise RequestError(f"The {kind} table {dict(chosen)} has no `name`, which says which {kind} it is.")
        named = parse_choice(name, kind)
        if twice := [key for key in named.options if key in options]:
            raise RequestError(
                f"Option `{twice[0]}` of the {kind} `{named.name}` is given twice: in `{name}` and beside it."
            )
        return attrs.evolve(named, options={**named.options, **options}, text="")
    raise RequestError(f"Cannot read {chosen!r} as the {kind}: give a spec string such as `name:option=value`.")


def _plain(key: str, value: object) -> object:
    if key in _COUNTS:
        least = 1 if key in ("seeds", "threads") else 0
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise RequestError(f"`{key}` is {value!r}, but it must be a whole number of {least} or more.")
        return value
    if key in _SWITCHES:
        if not isinstance(value, bool):
            raise RequestError(f"`{key}` is {value!r}, but it must be true or false.")
        return value
    if key in _SECONDS:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise RequestError(f"`{key}` is {value!r}, but it must be a number of seconds, 0 for every batch.")
        return float(value)
    if not isinstance(value, str):
        raise RequestError(f"`{key}` is {value!r}, but it must be text.")
    return _known(key, value)


def _known(key: str, value: str) -> str:
    """Refuse a word where only some are possible."""
    words = {"norm": get_args(Norm), "precision": get_args(Precision)}.get(key)
    if words is not None and value not in words:
        raise RequestError(f"No {key} `{value}`.{nearest(value, words)} Known: {listed(words)}.")
    return value


def plain_of(config: RunConfig) -> dict[str, object]:
    """Return the settings of a run that are no components, by name; several radii as they were typed."""
    settings = {name: getattr(config, name) for name in PLAIN}
    return settings | ({"eps": config.curve_typed} if config.curve else {})


def label(config: RunConfig, components: Mapping[str, Sequence[Component]]) -> RunConfig:
    """Let components that were not given as spec strings show as the shortest spec strings that build them."""

    def labelled(choice: Choice, built: Component) -> Choice:
        return choice if choice.text else attrs.evolve(choice, text=shortest(choice, built))

    changes: dict[str, Any] = {}
    for key in _ONE:
        if choice := getattr(config, key):
            changes[key] = labelled(choice, components[key][0])
    for key, attribute in _MANY.items():
        changes[attribute] = tuple(map(labelled, getattr(config, attribute), components[key]))
    return attrs.evolve(config, **changes)


def typed(config: RunConfig) -> dict[str, list[str]]:
    """Return the spec strings of all components as the user wrote them, by setting."""
    ones = {key: [str(choice)] for key in _ONE if (choice := getattr(config, key))}
    return ones | {key: list(map(str, getattr(config, name))) for key, name in _MANY.items() if getattr(config, name)}


def as_typed(config: RunConfig, words: Mapping[str, Sequence[str]]) -> RunConfig:
    """Let components show as the user once wrote them, so that a run that goes on keeps the names of its parts.

    Those of settings without `words` show as they are.
    """

    def named(key: str, choices: Sequence[Choice]) -> tuple[Choice, ...]:
        texts = words.get(key, [choice.text for choice in choices])
        return tuple(attrs.evolve(choice, text=text) for choice, text in zip(choices, texts, strict=True))

    changes: dict[str, Any] = {key: named(key, [choice])[0] for key in _ONE if (choice := getattr(config, key))}
    changes |= {name: named(key, choices) for key, name in _MANY.items() if (choices := getattr(config, name))}
    return attrs.evolve(config, **changes)


def config_of(document: Mapping[str, object]) -> RunConfig:
    """Build the configuration of a `run.toml` that was read; parts that were not edited keep the names they had."""
    changed = edited(document)
    typed = document.get("typed")
    # Without digests nobody can say which parts still deserve their names.
    words = typed if isinstance(typed, Mapping) and isinstance(document.get("as_begun"), Mapping) else {}
    kept = {key: texts for key, texts in words.items() if not {key, "typed"}.intersection(changed)}
    return as_typed(make_config(document), kept)


def read_config(path: Path) -> dict[str, object]:
    """Read a `run.toml`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RequestError(f"Cannot read the configuration `{path}`: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"`{path}` is not valid TOML: {error}.") from error
    version = document.get("format", _FORMAT)
    if not isinstance(version, int) or version > _FORMAT:
        raise RequestError(f"`{path}` was written by a newer rcframe (format {version}): upgrade to run it.")
    return document


def write_config(config: RunConfig, components: Mapping[str, Sequence[Component]], facts: Mapping[str, object]) -> str:
    """Return the TOML that repeats a run: every option of every component spelled out, then facts for the reader."""
    document = tomlkit.document()
    document.add(tomlkit.comment("Repeat this run with: rcframe run run.toml"))
    document.add("format", _FORMAT)
    for key, value in plain_of(config).items():
        if value is not None:
            document.add(key, str(value) if isinstance(value, Number) else value)
    for key, attribute in {**_ONE, **_MANY}.items():
        choices = getattr(config, key if key in _ONE else attribute)
        if key in _ONE and choices is not None:
            document.add(key, _table(choices, components[key][0]))
        elif key in _MANY and choices:
            array = tomlkit.aot()
            for choice, built in zip(choices, components[key], strict=True):
                array.append(_table(choice, built))
            document.add(key, array)
    for key, value in facts.items():
        document.add(key, tomlkit.item(value))
    document.add("as_begun", _digests(document.unwrap()))
    return tomlkit.dumps(document)


def edited(document: Mapping[str, object]) -> tuple[str, ...]:
    """Name the settings of a `run.toml` that were edited since a run wrote it; `typed` are the names of its parts."""
    before, now = document.get("as_begun"), _digests(document)
    if not isinstance(before, Mapping):
        return ()
    return tuple(key for key in {**before, **now} if before.get(key) != now.get(key))


def _digests(document: Mapping[str, object]) -> dict[str, str]:
    """Digest every setting that a result, or its name, may depend on."""
    aside = {*INFORMATION, *FREE} - {"typed"}
    settings = {key: value for key, value in document.items() if key not in aside}
    return {key: hashlib.sha256(json.dumps(value).encode()).hexdigest()[:8] for key, value in settings.items()}


def _table(choice: Choice, built: Component) -> tomlkit.items.Table:
    table = tomlkit.table()
    table.add("name", f"{choice.distribution}/{choice.name}" if choice.distribution else choice.name)
    for name, value in values_of(built).items():
        table.add(name, to_toml(value))
    return table


def to_toml(value: Value) -> object:
    """Return the TOML form of an option value."""
    if isinstance(value, tuple):
        return [to_toml(item) for item in value]
    if value is None:
        return "none"
    return str(value) if isinstance(value, Number) else value


def choices_of(config: RunConfig, part: str) -> tuple[Choice, ...]:
    """Return what was chosen for a part, such as `student`; nothing where there is no such part."""
    if part in _MANY:
        several: tuple[Choice, ...] = getattr(config, _MANY[part])
        return several
    chosen = getattr(config, part) if part in _ONE else None
    return (chosen,) if chosen else ()


def options_by_part(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """Name the options that the parts of a run have, by setting."""
    found: dict[str, tuple[str, ...]] = {}
    for part in (*_ONE, *_MANY):
        loaded = [registry().load(_ONE.get(part, part), choice) for choice in choices_of(config, part)]
        found[part] = tuple(option.name for cls in loaded for option in options_of(cls))
    return found


def set_option(config: RunConfig, part: str, option: str, value: object) -> RunConfig:
    """Set an option of a part, such as `temperature` of `student`, in every phase or method there that has it."""
    kind = _ONE.get(part, part)
    if part not in _ONE and part not in _MANY:
        raise RequestError(
            f"`{part}.{option}` is no option: a run has no part `{part}`.{nearest(part, [*_ONE, *_MANY])} "
            f"Parts: {listed([*_ONE, *_MANY])}."
        )
    choices = choices_of(config, part) or (choices_of(config, "model") if part == "student_model" else ())
    known = [settable(registry().load(kind, choice)) for choice in choices]
    if not any(option in names for names in known):
        there = "; ".join(f"`{choice.name}` has {listed(names)}" for choice, names in zip(choices, known, strict=True))
        every = [name for names in known for name in names]
        raise RequestError(
            f"`{part}.{option}` sets nothing: no {kind} of this run has the option `{option}`."
            f"{nearest(option, every)} {there or f'There is no {kind}'}. Runs without it need a "
            f"place of their own, such as a [[row]] of a matrix."
        )
    changed = tuple(
        attrs.evolve(choice, options={**choice.options, option: value}, text="") if option in names else choice
        for choice, names in zip(choices, known, strict=True)
    )
    change: dict[str, Any] = {_MANY[part]: changed} if part in _MANY else {part: changed[0]}
    return attrs.evolve(config, **change)

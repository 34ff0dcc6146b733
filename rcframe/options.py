"""One declaration per option: the attrs field of a component.

`option(default=..., help=...)` is the only place where an option is described. Spec strings, `run.toml` tables,
`rcframe info` and the constructor are all derived from it.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, cast, dataclass_transform

import attrs

from rcframe.errors import RequestError, UnknownOption, listed, nearest

T = TypeVar("T")
C = TypeVar("C")

#: What an option can hold; each has a text form for spec strings and a TOML form for `run.toml`.
Scalar = bool | int | float | str | None
Value = Scalar | tuple[Scalar, ...]

_PLAIN_NUMBER = r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"
_WRITTEN_NUMBER = re.compile(rf"{_PLAIN_NUMBER}(\s*/\s*{_PLAIN_NUMBER})?", re.ASCII | re.IGNORECASE)
_HELP = "rcframe.help"
_CHECK = "rcframe.check"
_POSITIONAL = "rcframe.positional"
_LOOKUP = "rcframe.lookup"
#: The key that stands for several options at once.
PRESET = "preset"


class Number(float):
    """A float that remembers how it was typed, so that `8/255` is stored and shown as `8/255`."""

    text: str

    def __new__(cls, text: str | float) -> Number:
        """Read a number such as `0.03` or `8/255`; ValueError if it is none."""
        written = str(text).strip()
        number = super().__new__(cls, _evaluate(written))
        number.text = written
        return number

    def __repr__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[type[Number], tuple[str]]:
        return Number, (self.text,)


def _evaluate(text: str) -> float:
    if not _WRITTEN_NUMBER.fullmatch(text):
        raise ValueError(text)
    above, slash, below = text.partition("/")
    value = float(above) / float(below) if slash else float(above)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


@attrs.frozen
class Check:
    """A range check with the words that an error message needs."""

    holds: Callable[[Any], bool]
    words: str
    #: What the number means, where a sentence that refuses one should say so.
    meaning: str = ""

    @property
    def sentence(self) -> str:
        """What an error says that a value must be."""
        return f"{self.words}: {self.meaning}" if self.meaning else self.words


def at_least(low: float) -> Check:
    """Allow values from `low` on."""
    return Check(lambda value: value >= low, f"at least {low:g}")


def more_than(low: float) -> Check:
    """Allow values strictly above `low`."""
    return Check(lambda value: value > low, f"more than {low:g}")


def between(low: float, high: float) -> Check:
    """Allow values from `low` to `high`, both included."""
    return Check(lambda value: low <= value <= high, f"between {low:g} and {high:g}")


def share(of: str) -> Check:
    """Allow shares of something, such as `the images`: more than nothing of it and at most all."""
    return Check(lambda value: 0 < value <= 1, "more than 0 and at most 1", f"a share of {of}, of which 1 is all")


def option(*, default: T, help: str, check: Check | None = None, positional: bool = False, lookup: bool = False) -> T:
    """Declare one option of a component.

    `help` is one sentence ending in a full stop. A `positional` option can be given in a spec string without its
    name, as in `file:weights.safetensors`; a component has at most one. A text that is a `lookup` among names the
    component knows may come from a weights file; any other could name code or files, and only the user may set it.
    """
    metadata = {_HELP: help, _CHECK: check, _POSITIONAL: positional, _LOOKUP: lookup}
    return attrs.field(default=default, metadata=metadata, validator=_validate)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(option,))
def component(cls: type[C]) -> type[C]:
    """Turn a class into a component: immutable, keyword-only, its fields are its options."""
    return attrs.frozen(kw_only=True, slots=False)(cls)


def _validate(instance: object, field: attrs.Attribute[Any], value: object) -> None:
    check = cast("Check | None", field.metadata[_CHECK])
    values = value if isinstance(value, tuple) else (value,)
    for item in values:
        if check is not None and item is not None and not check.holds(item):
            raise RequestError(
                f"Option `{field.name}` of `{type(instance).__name__}` is {to_text(cast(Value, value))}, "
                f"but it must be {check.sentence}."
            )


@attrs.frozen
class Option:
    """What is known about one option of a component class."""

    name: str
    type: object
    default: Value
    help: str
    allowed: str
    positional: bool
    #: Whether the value can do no more than pick among things that are known.
    harmless: bool


def options_of(cls: type) -> tuple[Option, ...]:
    """List the options of a component class in the order of declaration."""
    return _read_options(cls)


@functools.cache  # of thousands of planned runs, all ask for the same few classes
def _read_options(cls: type) -> tuple[Option, ...]:
    found = []
    for field in attrs.fields(cls):
        if _HELP not in field.metadata:
            raise RequestError(
                f"Field `{field.name}` of `{cls.__name__}` is not an option: declare it with "
                f"`option(default=..., help=...)`."
            )
        if field.name in ("name", PRESET):
            raise RequestError(
                f"An option of `{cls.__name__}` is called `{field.name}`, which is taken: give it another name."
            )
        kind = _resolve(cls, field.name)
        check = cast("Check | None", field.metadata[_CHECK])
        words = " ".join(filter(None, [describe_type(kind), check.words if check else ""]))
        harmless = field.metadata[_LOOKUP] or not _holds_text(kind)
        positional = field.metadata[_POSITIONAL]
        found.append(Option(field.name, kind, field.default, field.metadata[_HELP], words, positional, harmless))
    return tuple(found)


def _resolve(cls: type, name: str) -> object:
    """Evaluate the annotation of field `name` in the module of the class that declares it."""
    for owner in cls.__mro__:
        annotation = inspect.get_annotations(owner).get(name)
        if annotation is not None:
            if not isinstance(annotation, str):
                return annotation
            return eval(annotation, vars(sys.modules[owner.__module__]))
    raise RequestError(f"Option `{name}` of `{cls.__name__}` has no type annotation.")


def _holds_text(kind: object) -> bool:
    return kind is str or any(map(_holds_text, typing.get_args(kind)))


def describe_type(kind: object) -> str:
    """Say in words what values of `kind` look like."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + listed(str(argument) for argument in arguments)
    if origin is tuple:
        return f"list of {describe_type(arguments[0])} (a+b+c)"
    if origin in (types.UnionType, typing.Union):
        return " or ".join(describe_type(argument) for argument in arguments)
    return {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "none"}.get(
        cast(type, kind), str(kind)
    )


def parse(kind: object, given: object) -> Value:
    """Turn what a user gave (text, TOML or Python value) into a value of type `kind`, or raise ValueError."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return _parse_choice(arguments, given)
    if origin is tuple:
        items = given.split("+") if isinstance(given, str) else given if isinstance(given, list | tuple) else [given]
        return tuple(cast(Scalar, parse(arguments[0], item)) for item in items if item != "")
    if origin in (types.UnionType, typing.Union):
        return _parse_union(arguments, given)
    return _parse_scalar(kind, given)


def _parse_choice(choices: tuple[Any, ...], given: object) -> Scalar:
    for choice in choices:
        if given == choice or str(given) == str(choice):
            return cast(Scalar, choice)
    raise ValueError(nearest(str(given), map(str, choices)))


def _parse_union(members: tuple[object, ...], given: object) -> Value:
    if type(None) in members and (given is None or given == "none"):
        return None
    for member in members:
        if member is not type(None):
            try:
                return parse(member, given)
            except ValueError:
                continue
    raise ValueError


_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _parse_scalar(kind: object, given: object) -> Scalar:
    if kind is bool:
        if isinstance(given, bool):
            return given
        return _BOOLEANS[str(given).lower()] if str(given).lower() in _BOOLEANS else _refuse()
    if kind is int:
        if isinstance(given, bool) or (isinstance(given, float) and not given.is_integer()):
            raise ValueError
        return int(cast("str | float", given))
    if kind is float:
        written = given if isinstance(given, str) else None
        if written is not None and "/" in written:
            return Number(written)
        if isinstance(given, Number):
            return given
        return _evaluate(str(given))
    if kind is str:
        if not isinstance(given, str):
            raise ValueError
        return given
    raise ValueError


def _refuse() -> Scalar:
    raise ValueError


def to_text(value: Value) -> str:
    """Write a value the way a spec string spells it."""
    if isinstance(value, tuple):
        return "+".join(to_text(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    # A plus sign separates the items of a list.
    return repr(value).replace("e+", "e") if isinstance(value, float) else str(value)


def build(cls: type[C], given: Mapping[str, object], asked: str) -> C:
    """Construct component class `cls` from raw option values; `asked` names the component in error messages.

    A key `""` holds the positional value of a spec string, and `preset` names values for several options at once.
    """
    known = {option.name: option for option in options_of(cls)}
    given = _with_preset(cls, given, asked)
    values: dict[str, Value] = {}
    for key, raw in given.items():
        chosen = _positional(known, asked) if key == "" else known.get(key)
        if chosen is None:
            raise UnknownOption(
                f"`{asked}` has no option `{key}`.{nearest(key, known)} Its options: {listed(known)}.", key
            )
        if chosen.name in values:
            raise RequestError(f"`{asked}` was given option `{chosen.name}` twice; give it once.")
        try:
            values[chosen.name] = parse(chosen.type, raw)
        except (ValueError, TypeError, ZeroDivisionError) as error:
            hint = str(error) if "Did you mean" in str(error) else ""
            raise RequestError(
                f"Option `{chosen.name}` of `{asked}` is {raw!r}, but it must be: {chosen.allowed}.{hint}"
            ) from None
    try:
        return cls(**values)
    except RequestError as error:
        raise RequestError(str(error).replace(f"`{cls.__name__}`", f"`{asked}`", 1)) from None


def presets_of(cls: type) -> Mapping[str, Mapping[str, object]]:
    """Return the named sets of option values that a component class has."""
    presets: Mapping[str, Mapping[str, object]] = getattr(cls, "presets", {})
    return presets


def settable(cls: type) -> list[str]:
    """Return the keys that a spec string of a component class may have: its options, and `preset` if it has any."""
    return [*(option.name for option in options_of(cls)), *([PRESET] if presets_of(cls) else [])]


def _with_preset(cls: type, given: Mapping[str, object], asked: str) -> Mapping[str, object]:
    """Replace the key `preset` by the values it stands for; what is given besides wins."""
    if PRESET not in given:
        return given
    presets, chosen = presets_of(cls), given[PRESET]
    if not isinstance(chosen, str) or chosen not in presets:
        if not presets:
            raise UnknownOption(f"`{asked}` has no preset `{chosen}`. It has none.", PRESET)
        near = nearest(str(chosen), presets)
        raise RequestError(f"`{asked}` has no preset `{chosen}`.{near} Its presets: {listed(presets)}.")
    return {**presets[chosen], **{key: value for key, value in given.items() if key != PRESET}}


def _positional(known: Mapping[str, Option], asked: str) -> Option:
    for chosen in known.values():
        if chosen.positional:
            return chosen
    raise RequestError(
        f"`{asked}` takes its options by name, as in `{asked}:option=value`. Its options: {listed(known)}."
    )


def values_of(instance: object) -> dict[str, Value]:
    """Return the option values of a component, defaults included."""
    return {option.name: getattr(instance, option.name) for option in options_of(type(instance))}


def changed(component: C, **options: Value) -> C:
    """Return a component like this one with other values of some options."""
    copy: C = attrs.evolve(component, **options)  # type: ignore[misc]  # an attrs class, which mypy cannot know
    return copy


def changed_options(instance: object) -> dict[str, Value]:
    """Return the option values of a component that differ from their defaults."""
    return {
        option.name: getattr(instance, option.name)
        for option in options_of(type(instance))
        if getattr(instance, option.name) != option.default
    }

"""The arguments of foolbox's attacks, as a user writes them: `steps:50`."""

from __future__ import annotations

import inspect
import math
import types
import typing
from collections.abc import Mapping
from typing import Literal

import attrs
from foolbox.attacks.base import Attack as TheirAttack, MinimizationAttack

from rcframe import Norm, RequestError
from rcframe_foolbox.names import TheirClass, find
from rcframe_foolbox.traits import DISTANCES

#: What an argument can hold.
Value = bool | int | float | str | None | TheirAttack

#: Arguments that the run decides, or that would write files or only make sense for other kinds of input.
_NOT_SETTABLE = {"distance", "constraint", "tensorboard", "channel_axis", "reduced_dims"}
_TRUTH = {"true": True, "false": False}


@attrs.frozen
class Argument:
    """One argument of a constructor that can be written as text."""

    name: str
    #: What it may be: types, and literals.
    kinds: tuple[object, ...]
    #: What it is otherwise; `inspect.Parameter.empty` where it must be given.
    default: object

    def read(self, text: str) -> Value:
        """Turn text into a value of one of the kinds, or raise ValueError."""
        if type(None) in self.kinds and text.lower() == "none":
            return None
        if bool in self.kinds and text.lower() in _TRUTH:
            return _TRUTH[text.lower()]
        choices = [str(choice) for kind in self.kinds for choice in typing.get_args(kind)]
        if text in choices:
            return text
        if int in self.kinds:
            return _counted(text)
        if float in self.kinds:
            return _measured(text)
        if MinimizationAttack in self.kinds:
            return _started_by(text)
        raise ValueError

    @property
    def allowed(self) -> str:
        """What may be written, in words."""
        words: dict[object, str] = {
            bool: "true or false",
            int: "a whole number from 1 on",
            float: "a number",
            type(None): "none",
            MinimizationAttack: "an attack that looks for the nearest image",
        }
        return " or ".join(
            " or ".join(map(str, typing.get_args(kind))) if typing.get_origin(kind) is Literal else words[kind]
            for kind in self.kinds
        )


def _counted(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _measured(text: str) -> float:
    above, slash, below = text.partition("/")
    number = float(above) / float(below) if slash else float(text)
    if not math.isfinite(number):
        raise ValueError
    return number


def _started_by(name: str) -> TheirAttack:
    cls = find(name)
    if not issubclass(cls, MinimizationAttack):
        raise ValueError
    return cls()


def arguments_of(cls: TheirClass) -> dict[str, Argument]:
    """Return the arguments of an attack's constructor that can be set here."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    named = [one for one in parameters if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    hints = typing.get_type_hints(cls.__init__) if named else {}
    return {
        one.name: Argument(one.name, _kinds(hints[one.name]), one.default)
        for one in named
        if one.name not in _NOT_SETTABLE
    }


def _kinds(hint: object) -> tuple[object, ...]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return typing.get_args(hint)
    return (hint,)


def read_options(cls: TheirClass, options: tuple[str, ...]) -> dict[str, Value]:
    """Turn `name:value` texts into arguments of `cls`; refuse what it does not have or cannot take."""
    known, given = arguments_of(cls), dict[str, Value]()
    for text in options:
        name, colon, written = text.partition(":")
        argument = known.get(name)
        if argument is None or not colon:
            raise RequestError(
                f"`{text}` is no option of foolbox's `{cls.__name__}`. Write options as `name:value`, joined with +. "
                f"Its options: {', '.join(known) or 'none'}."
            )
        try:
            given[name] = argument.read(written)
        except (ValueError, TypeError, ZeroDivisionError):
            raise RequestError(
                f"Option `{name}` of foolbox's `{cls.__name__}` is {written!r}, but it must be: {argument.allowed}."
            ) from None
    for argument in known.values():
        if argument.default is inspect.Parameter.empty and argument.name not in given:
            raise RequestError(
                f"foolbox's `{cls.__name__}` has no default for `{argument.name}`: give it, for example "
                f"`options={argument.name}:10`."
            )
    return given


def build(cls: TheirClass, given: Mapping[str, Value], norm: Norm) -> TheirAttack:
    """Construct an attack, in `norm` where its class works in several."""
    parameters = inspect.signature(cls.__init__).parameters
    by_norm: dict[str, object] = {"distance": DISTANCES[norm], "constraint": norm}
    return cls(**given, **{name: value for name, value in by_norm.items() if name in parameters})

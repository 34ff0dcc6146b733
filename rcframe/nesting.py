"""Options of a component inside another, given to the one around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from rcframe.api import KINDS
from rcframe.choice import Choice, format_choice, parse_choice
from rcframe.errors import RequestError
from rcframe.options import Option, options_of, settable

if TYPE_CHECKING:
    from rcframe.registry import Registry


def belongs_inside(registry: Registry, kind: str, choice: Choice, option: str) -> str:
    """Return ` `option` is an option of `inner`: write ...` where a component inside has it, or an empty string."""
    known = settable(registry.load(kind, choice))
    misplaced = {key: value for key, value in choice.options.items() if key and key not in known}
    rest = _with_options(choice, {key: value for key, value in choice.options.items() if key not in misplaced})
    owner = None
    for key, value in misplaced.items():
        if placed := _placed(registry, kind, rest, key, value):
            rest = placed.whole
            owner = placed.owner if key == option else owner
    return f" `{option}` is an option of `{owner}`: write `{rest}`." if owner else ""


@attrs.frozen
class _Placed:
    """A choice in which an option stands where it belongs, and the name of the component that has it."""

    whole: Choice
    owner: str


def _placed(registry: Registry, kind: str, choice: Choice, key: str, value: object) -> _Placed | None:
    """Give an option to the outermost component inside a choice that has it; None where none has."""
    for option, inner in _inside(registry, kind, choice):
        found: _Placed | None
        if key in settable(registry.load(option.name, inner)):
            found = _Placed(_with_options(inner, {**inner.options, key: value}), inner.name)
        else:
            found = _placed(registry, option.name, inner, key, value)
        if found:
            # A value without a name is that of the option itself only if this one takes it.
            same = (option.name, "") if option.positional else (option.name,)
            others = {k: v for k, v in choice.options.items() if k not in same}
            # It stands first, if there is one.
            unnamed = {"": others.pop("")} if "" in others else {}
            whole = _with_options(choice, {**unnamed, option.name: format_choice(found.whole), **others})
            return _Placed(whole, found.owner)
    return None


def _inside(registry: Registry, kind: str, choice: Choice) -> Iterator[tuple[Option, Choice]]:
    """Yield the options of a component that hold a spec string, which are called by its kind, and what they hold."""
    for option in options_of(registry.load(kind, choice)):
        text = choice.options.get(option.name, choice.options.get("") if option.positional else None) or option.default
        if option.name not in KINDS or not isinstance(text, str):
            continue
        try:
            inner = parse_choice(text, option.name)
            registry.load(option.name, inner)
        except RequestError:
            # Not every such text is a spec string: `same` stands for the model of the run.
            continue
        yield option, inner


def _with_options(choice: Choice, options: Mapping[str, object]) -> Choice:
    return attrs.evolve(choice, options=options, text="")

"""What a weights file may not decide: which code is run and which files are opened to build its network."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from rcframe.api import Component
from rcframe.choice import Choice, format_choice
from rcframe.errors import RequestError
from rcframe.options import changed_options, options_of
from rcframe.registry import registry


def check_vouched(choice: Choice, saved: Component, named: Component | None) -> None:
    """Refuse what a weights file asks for if its options could name code or files and the user did not name the same.

    `saved` is built from the `choice` in the file; `named` is what the user chose for this run, if there is a choice.
    What `saved` is made of is held to the same.
    """
    vouched = () if named is None else (named, *named.parts())
    _check_one(choice, saved, vouched)
    for part in saved.parts():
        _check_one(registry().choice_of(part), part, vouched)


def _check_one(choice: Choice, saved: Component, vouched: Sequence[Component]) -> None:
    for option in options_of(type(saved)):
        value = getattr(saved, option.name)
        if option.harmless or value == option.default:
            continue
        if any(type(named) is type(saved) and getattr(named, option.name) == value for named in vouched):
            continue
        asked = _spelled(choice, saved)
        choosable = any(named.kind == saved.kind for named in vouched)
        raise RequestError(
            f"the file asks for the {saved.kind} `{asked}`, whose `{option.name}` could name any code or file. A "
            f"weights file does not decide what is run here. {_remedy(saved, asked, choosable)}"
        )


def _remedy(saved: Component, asked: str, choosable: bool) -> str:
    if not choosable:
        return "Train the network again in this run instead."
    return (
        f"If you trust it, name it for this run yourself: `--{saved.kind} {asked}` (the student's network is then "
        f"chosen with --student-model)."
    )


def _spelled(choice: Choice, built: Component) -> str:
    """Write a component as a user would, without the name of an option that needs none."""
    changed = changed_options(built)
    positional = {option.name for option in options_of(type(built)) if option.positional}
    options = {"": next(iter(changed.values()))} if positional == changed.keys() else changed
    return format_choice(attrs.evolve(choice, options=options))

"""Component parameters: spec strings whose names complete in the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    _SpecString = click.ParamType[str]
else:
    _SpecString = click.ParamType  # click before 8.4 knows no type arguments


class RecipeType(_SpecString):
    """The name of a published table that an installed plugin repeats."""

    name = "recipe"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show what is expected."""
        return "NAME"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the names of recipes."""
        from rcframe.registry import registry

        return [CompletionItem(found.name) for found in registry().recipes() if found.name.startswith(incomplete)]


class ComponentType(_SpecString):
    """A spec string of one kind of component."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.name = kind

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show what is expected."""
        return "SPEC"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the names of installed components, and after a colon the names of options."""
        from rcframe.registry import registry

        name, colon, options = incomplete.partition(":")
        if not colon:
            return [
                CompletionItem(item.spec.name, help=item.spec.summary)
                for item in registry().announced(self.kind)
                if item.spec.name.startswith(incomplete)
            ]
        return self._complete_options(name, options)

    def _complete_options(self, name: str, given: str) -> list[CompletionItem]:
        from rcframe.choice import Choice
        from rcframe.errors import RcframeError
        from rcframe.options import PRESET, options_of, presets_of
        from rcframe.registry import registry

        before, comma, last = given.rpartition(",")
        try:
            cls = registry().load(self.kind, Choice(name))
            known, presets = options_of(cls), presets_of(cls)
        except RcframeError:
            return []
        start = f"{name}:{before}{comma}"
        offered = [
            *((f"{option.name}=", option.help) for option in known),
            *((f"{PRESET}={preset}", "Stands for several options at once.") for preset in presets),
        ]
        return [CompletionItem(f"{start}{text}", help=words) for text, words in offered if text.startswith(last)]

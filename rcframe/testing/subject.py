"""What is checked: an announced component, a plugin that is told about runs, or recipes, and one promise about it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from rcframe.api import Component
from rcframe.choice import Choice
from rcframe.hookspecs import Spec
from rcframe.options import options_of
from rcframe.registry import FoundRecipe, registry
from rcframe.wrapping import WrappingAttack

#: Options that make a check cheap, where a component has them.
_CHEAP: dict[str, object] = {"epochs": 2, "batch_size": 16, "finetune": 1, "queries": 200}
#: The attack that a check puts inside a wrapper which names none.
STAND_IN = "stand-in-for-checks"


@attrs.frozen
class Subject:
    """A component under check."""

    distribution: str
    module: str
    spec: Spec

    @property
    def cls(self) -> type[Component]:
        """The component's class."""
        return registry().load(self.spec.kind, self._choice({}))

    def make(self) -> Component:
        """Build the component with its defaults, made cheap; a wrapper that names no attack gets the stand-in."""
        defaults = {option.name: option.default for option in options_of(self.cls)}
        given = {name: value for name, value in _CHEAP.items() if name in defaults}
        if issubclass(self.cls, WrappingAttack) and not defaults["attack"]:
            given["attack"] = STAND_IN
        return registry().make(self.spec.kind, self._choice(given))

    def _choice(self, options: dict[str, object]) -> Choice:
        return Choice(self.spec.name, options, self.distribution)


@attrs.frozen
class Watcher:
    """A plugin under check that is told about runs."""

    distribution: str
    module: str

    def tell(self, hook: str, **arguments: object) -> None:
        """Call a hook of this plugin, if it implements it; what it raises is raised."""
        for plugin, call in registry().implementations(hook, **arguments):
            if plugin.distribution == self.distribution:
                call()


@attrs.frozen
class Recipes:
    """The recipes of a plugin under check."""

    distribution: str
    module: str

    @property
    def found(self) -> list[FoundRecipe]:
        """The recipes, as far as the plugin can name them."""
        return [recipe for recipe in registry().recipes() if recipe.distribution == self.distribution]


@attrs.frozen
class Check:
    """One promise, and what is held to it; calling it raises AssertionError if it is broken."""

    name: str
    #: What is checked, as in `teacher plain`.
    title: str
    function: Callable[[], None]

    def __call__(self) -> None:
        """Hold it to the promise."""
        self.function()

    def __str__(self) -> str:
        return f"{self.title}: {self.name.replace('_', ' ')}"

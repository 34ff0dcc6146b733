"""What is checked: one announced component, and one promise about it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from rcframe.api import Component
from rcframe.choice import Choice
from rcframe.hookspecs import Spec
from rcframe.options import options_of
from rcframe.registry import registry

#: Options that make a check cheap, where a component has them.
_CHEAP: dict[str, object] = {"epochs": 2, "batch_size": 16, "finetune": 1}


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
        """Build the component with its defaults, made cheap."""
        known = {option.name for option in options_of(self.cls)}
        return registry().make(self.spec.kind, self._choice({k: v for k, v in _CHEAP.items() if k in known}))

    def _choice(self, options: dict[str, object]) -> Choice:
        return Choice(self.spec.name, options, self.distribution)


@attrs.frozen
class Check:
    """One promise of one component; calling it raises AssertionError if it is broken."""

    name: str
    subject: Subject
    function: Callable[[Subject], None]

    def __call__(self) -> None:
        """Hold the component to the promise."""
        self.function(self.subject)

    def __str__(self) -> str:
        return f"{self.subject.spec.kind} {self.subject.spec.name}: {self.name.replace('_', ' ')}"

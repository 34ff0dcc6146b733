"""Attacks around other attacks."""

from __future__ import annotations

import functools
from typing import cast

from rcframe.api import Attack, Component
from rcframe.choice import parse_choice
from rcframe.errors import RequestError
from rcframe.options import changed, component, option
from rcframe.registry import registry


@component
class WrappingAttack(Attack):
    """An attack around another one, whose access, norms and other traits it shares. Added in API 1.3.

    A subclass implements `craft`, in which it calls `self.inner.craft`, perhaps with another oracle.
    """

    attack: str = option(
        default="", help="The attack inside, as a spec string; in parentheses if it has commas.", positional=True
    )

    def __attrs_post_init__(self) -> None:
        # What the kernel asks of a class, it finds on this one object.
        for trait in ("access", "norms", "iterated", "nearest"):
            object.__setattr__(self, trait, getattr(self.inner, trait))

    @functools.cached_property
    def inner(self) -> Attack:
        """The attack inside."""
        if not self.attack:
            raise RequestError(f"`{type(self).__name__}` needs an attack inside: name one, for example `attack=NAME`.")
        return cast(Attack, registry().make("attack", parse_choice(self.attack, "attack")))

    @property
    def surrogate(self) -> str | None:
        """Say on which other network the attack inside is crafted."""
        return self.inner.surrogate

    def stronger(self) -> Attack | None:
        """Wrap the stronger attack inside."""
        stronger = self.inner.stronger()
        return None if stronger is None else self.around(stronger)

    def thorough(self) -> Attack:
        """Wrap the thorough attack inside."""
        return self.around(self.inner.thorough())

    def around(self, inner: Attack) -> Attack:
        """Return this wrapper around another attack."""
        return changed(self, attack=str(registry().choice_of(inner)))

    def parts(self) -> tuple[Component, ...]:
        """Return what this attack is made of."""
        return (self.inner, *self.inner.parts())

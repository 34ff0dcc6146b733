"""The model of an ensemble: what is needed to build a saved one again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rcframe
from rcframe import Component, Model, RequestError, at_least, component, option
from rcframe_ensemble.network import Average, EnsembleNetwork

if TYPE_CHECKING:
    from torch import nn

    from rcframe import DataInfo


@component
class EnsembleModel(Model):
    """Several networks that answer together, each built afresh.

    A weights file may name the models of the members, since their own options are held to what a file may decide.
    """

    models: str = option(
        default="convnet",
        help="Models that the members take in turn, as spec strings with a semicolon between them; in parentheses.",
        positional=True,
        lookup=True,
    )
    members: int = option(default=3, help="Number of members.", check=at_least(1))
    average: Average = option(default="logits", help="What is averaged over the members.")

    def build(self, info: DataInfo) -> nn.Module:
        """Return the members, one after the other from the same random numbers, as one network."""
        return EnsembleNetwork([model.build(info) for model in self.inner()], self.average)

    def inner(self) -> list[Model]:
        """Return the model of every member."""
        return [rcframe.model(spec) for spec in in_turn(self.models, self.members)]

    def parts(self) -> tuple[Component, ...]:
        """Return the models of the members and what those are made of."""
        return tuple(part for model in self.inner() for part in (model, *model.parts()))


def in_turn(models: str, members: int) -> list[str]:
    """Return the spec string of every member's model, of several that are taken in turn."""
    specs = [spec.strip() for spec in models.split(";")]
    if not all(specs):
        raise RequestError(
            f"The models of an ensemble are `{models}`, where one is empty: write spec strings with a semicolon "
            f"between them, as in `ensemble:models=(digitnet;mlp:hidden=32)`."
        )
    if len(specs) > members:
        raise RequestError(
            f"An ensemble of {members} members has {len(specs)} models (`{models}`): ask for more `members`, or leave "
            f"models out."
        )
    return [specs[number % len(specs)] for number in range(members)]

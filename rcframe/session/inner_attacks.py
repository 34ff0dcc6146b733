"""Attacks on whose results teachers and students are trained: checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from rcframe.api import Attack, Component, Data
from rcframe.choice import Choice
from rcframe.errors import RequestError
from rcframe.training.settings import Training, unattackable

if TYPE_CHECKING:
    from rcframe.session.assemble import Parts
    from rcframe.session.config import RunConfig


@attrs.frozen
class TrainedOn:
    """An attack on whose results a method of the run is trained."""

    trained: Component
    name: str
    attack: Attack

    def __str__(self) -> str:
        return f"Option `attack` of {self.trained.kind} `{self.name}`"


def check_inner_attacks(config: RunConfig, parts: Parts) -> None:
    """Refuse methods that would have to be trained on what no attack can make."""
    for _ in inner_attacks(config, parts):
        pass


def inner_attacks(config: RunConfig, parts: Parts) -> Iterator[TrainedOn]:
    """Yield the attacks that the methods of a run are trained on; one that makes no sense is refused."""
    methods: list[tuple[Choice, Component, Data]] = [
        (config.teacher, parts.teacher, Data.LABELLED),
        *((choice, strategy, strategy.data) for choice, strategy in zip(config.students, parts.students, strict=True)),
    ]
    for choice, method, level in methods:
        if not isinstance(method, Training) or method.attack is None:
            continue
        try:
            if level is Data.NONE:
                raise unattackable(method.attack)
            attack = method.inner_attack()
        except RequestError as error:
            raise RequestError(f"In the option `attack` of {method.kind} `{choice.name}`: {error}") from error
        if attack is not None:
            yield TrainedOn(method, choice.name, attack)

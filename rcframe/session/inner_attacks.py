"""Attacks on whose results teachers and students are trained: checked before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from rcframe.api import Attack, Component, Data, Norm
from rcframe.choice import Choice
from rcframe.errors import RequestError
from rcframe.guarding import trained_choice, trained_part
from rcframe.options import Number, to_text
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
    #: Its radius in pixels, the customary one of the data set if None.
    eps: float | None
    norm: Norm

    def __str__(self) -> str:
        return f"Option `attack` of {self.trained.kind} `{self.name}`"


def check_inner_attacks(config: RunConfig, parts: Parts) -> None:
    """Refuse methods that would have to be trained on what no attack can make."""
    for _ in inner_attacks(config, parts):
        pass


def unlike_measured(config: RunConfig, parts: Parts, customary: Number) -> Iterator[str]:
    """Yield a sentence for every method that is trained at a radius at which the run measures nothing."""
    if config.eps is None or not (config.attacks or config.certifiers):
        return
    for inner in inner_attacks(config, parts):
        eps = customary if inner.eps is None else inner.eps
        if inner.norm != config.norm or eps not in (config.curve or (config.eps,)):
            kind = inner.trained.kind.capitalize()
            yield (
                f"{kind} `{inner.name}` is trained on images attacked in {inner.norm} at {to_text(eps)}, but measured "
                f"in {config.norm} at {config.curve_typed or config.eps}. Its option attack_eps sets the former, --eps "
                f"the latter."
            )


def inner_attacks(config: RunConfig, parts: Parts) -> Iterator[TrainedOn]:
    """Yield the attacks that the methods of a run are trained on; one that makes no sense is refused."""
    methods: list[tuple[Choice, Component, Data]] = [
        (trained_choice(config.teacher, parts.teacher), trained_part(parts.teacher), Data.LABELLED),
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
            yield TrainedOn(method, choice.name, attack, method.attack_eps, method.attack_norm)

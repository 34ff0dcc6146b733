"""Attacks around other attacks, and models around other models."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import TYPE_CHECKING, cast

import attrs

from rcframe.api import Attack, Component, Model, NeuronModel
from rcframe.choice import format_choice, parse_choice, shortest
from rcframe.errors import RequestError
from rcframe.options import changed, changed_options, component, option
from rcframe.registry import registry

if TYPE_CHECKING:
    from torch import nn

    from rcframe.data.images import DataInfo


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


@component
class WrappingModel(Model):
    """A model around another one, such as one with further classifiers. Added in API 1.4.

    A subclass implements `wrap`. A weights file may name the model inside, since that one's own options are held to
    what a weights file may decide.
    """

    model: str = option(
        default="convnet",
        help="The model inside, as a spec string; in parentheses if it has commas.",
        positional=True,
        lookup=True,
    )
    neuron: str | None = option(
        default=None, help="Neurons in the place of the ReLUs of the model inside, as a spec string.", lookup=True
    )

    @functools.cached_property
    def inner(self) -> Model:
        """The model inside."""
        inner = cast(Model, registry().make("model", parse_choice(self.model, "model")))
        if isinstance(inner, WrappingModel):
            raise RequestError(
                f"The model `{self.model}` is one around another already, and cannot be inside one: name the model "
                f"inside it, `{inner.inside}`."
            )
        return inner

    @property
    def inside(self) -> str:
        """The spec string of the model inside, without options that have their defaults."""
        choice = parse_choice(self.model, "model")
        return shortest(choice, registry().make("model", choice))

    @functools.cached_property
    def neurons(self) -> NeuronModel | None:
        """The neurons of the model inside, if it spikes."""
        if self.neuron is None:
            return None
        return cast(NeuronModel, registry().make("neuron", parse_choice(self.neuron, "neuron")))

    @abstractmethod
    def wrap(self, network: nn.Module, info: DataInfo) -> nn.Module:
        """Return what is put around the network inside, which is part of it."""

    def build(self, info: DataInfo) -> nn.Module:
        """Return the network inside, spiking if it should, with what is put around it."""
        network = self.inner.build(info)
        return self.wrap(self.neurons.convert(network) if self.neurons else network, info)

    def parts(self) -> tuple[Component, ...]:
        """Return what this model is made of."""
        made = (self.inner, self.neurons) if self.neurons else (self.inner,)
        return tuple(part for each in made for part in (each, *each.parts()))


def model_in_brief(spec: str) -> str:
    """Write the spec string of a model without options that have their defaults, in the model inside it too."""
    choice = parse_choice(spec, "model")
    model = registry().make("model", choice)
    if not isinstance(model, WrappingModel):
        return shortest(choice, model)
    # Which model is inside is worth naming even if it is the default.
    others = {name: value for name, value in changed_options(model).items() if name != "model"}
    return format_choice(attrs.evolve(choice, options={"": model.inside, **others}))

from __future__ import annotations

import inspect
from typing import get_args

import pytest
from torch import nn

from rcframe import api
from rcframe.access import Access
from rcframe.api import API, KINDS, Attack, Certifier, Component, Data, Model, Norm, StudentStrategy
from rcframe.data.images import DataInfo
from rcframe.options import component, options_of

INTERFACES = [
    cls
    for cls in vars(api).values()
    if isinstance(cls, type) and issubclass(cls, Component) and cls is not Component and cls.__module__ == api.__name__
]


def test_the_version_is_a_major_and_a_minor_number() -> None:
    assert len(API) == 2
    assert all(isinstance(number, int) for number in API)


def test_every_kind_has_an_interface_and_every_interface_a_kind() -> None:
    assert {cls.kind for cls in INTERFACES} == set(KINDS)
    assert len(KINDS) == len(set(KINDS)) == 9


@pytest.mark.parametrize("cls", INTERFACES, ids=lambda cls: cls.__name__)
def test_an_interface_is_abstract_documented_and_annotated(cls: type[Component]) -> None:
    assert inspect.isabstract(cls)
    assert vars(cls)["__doc__"]
    for name, member in vars(cls).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            assert member.__doc__, name
            parameters = list(inspect.signature(member).parameters.values())[1:]
            assert all(known.annotation is not known.empty for known in parameters), name
            assert inspect.signature(member).return_annotation is not inspect.Signature.empty, name


@pytest.mark.parametrize("name", ["OneShotPruner", "NeuronModel", "DataSource"])
def test_options_of_interfaces_are_described(name: str) -> None:
    described = options_of(getattr(api, name))
    assert described
    assert all(known.help.endswith(".") for known in described)


def test_a_component_without_the_mandatory_method_cannot_be_made() -> None:
    @component
    class Unfinished(Model):
        """Builds nothing."""

    with pytest.raises(TypeError, match="build"):
        Unfinished()  # type: ignore[abstract]  # that is the point


def test_a_component_supports_every_network_unless_it_says_otherwise() -> None:
    @component
    class Flat(Model):
        """Flattens."""

        def build(self, info: DataInfo) -> nn.Module:
            return nn.Flatten()

    assert Flat().unsupported(nn.Linear(1, 1)) is None
    assert Flat() == Flat()


def test_a_certifier_must_say_what_it_supports() -> None:
    assert "unsupported" in Certifier.__abstractmethods__


def test_levels_of_data_grow() -> None:
    assert Data.NONE < Data.INPUTS < Data.LABELLED
    assert max([Data.NONE, Data.LABELLED, Data.INPUTS]) is Data.LABELLED


def test_methods_need_the_usual_access_unless_they_say_otherwise() -> None:
    assert StudentStrategy.access == Access.LOGITS
    assert StudentStrategy.data is Data.LABELLED
    assert Attack.access == Access.LOGITS | Access.INPUT_GRAD
    assert Attack.norms == get_args(Norm) == ("linf", "l2")
    assert Certifier.norms == ("linf",)
    assert Certifier.differentiable is False

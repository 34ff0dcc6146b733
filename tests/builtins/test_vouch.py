from __future__ import annotations

import re

import pytest
from torch import nn

from rcframe.api import Component, Model, NeuronModel
from rcframe.builtins.vouch import check_vouched
from rcframe.choice import Choice, parse_choice
from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.models.libraries import TimmModel, TorchvisionModel
from rcframe.models.own import OwnModel
from rcframe.models.plain import Mlp
from rcframe.options import component, option
from rcframe.registry import registry
from rcframe.testing.toys import MODEL
from rcframe.wrapping import WrappingModel
from tests.conftest import Announce


@component
class FromFile(Model):
    """A model of somebody's that reads a file."""

    weights: str = option(default="", help="The file to start from.")
    layers: tuple[str, ...] = option(default=(), help="Layers to read.")
    depth: int = option(default=2, help="A number.")

    def build(self, info: DataInfo) -> nn.Module:
        raise AssertionError


@component
class FromElsewhere(FromFile):
    """Another model with the same options."""


@component
class Scripted(NeuronModel):
    """Neurons that somebody describes in a file."""

    rule: str = option(default="", help="The file with the rule.")

    def cell(self) -> nn.Module:
        raise AssertionError


@pytest.mark.parametrize("spec", [MODEL, "mlp:hidden=4", "torchvision:resnet50", "timm:resnet50", "python"])
def test_parts_that_name_nothing_outside_need_no_word_of_the_user(spec: str) -> None:
    choice = parse_choice(spec, "model")
    check_vouched(choice, registry().make("model", choice), Mlp())


@pytest.mark.parametrize("model", [TorchvisionModel(network="resnet50"), TimmModel(network="resnet50")])
def test_names_in_a_library_need_no_word_of_the_user(model: Model) -> None:
    check_vouched(Choice("library", {"": "resnet50"}), model, None)


@pytest.mark.parametrize("named", [Mlp(), OwnModel(), OwnModel(function="nets:other"), FromFile(weights="nets:small")])
def test_code_that_the_user_did_not_name_is_refused_with_how_to_name_it(named: Component) -> None:
    with pytest.raises(RequestError) as refused:
        check_vouched(parse_choice("my_nets:small", "model"), OwnModel(function="my_nets:small"), named)
    assert "the file asks for the model `python:my_nets:small`, whose `function` could name any code" in str(
        refused.value
    )
    (advice,) = re.findall(r"`--model (\S+)`", str(refused.value))
    assert registry().make("model", advice) == OwnModel(function="my_nets:small")


def test_code_that_the_user_named_is_accepted_whatever_else_differs() -> None:
    choice = parse_choice("python:function=nets:small,normalize=true", "model")
    check_vouched(choice, OwnModel(function="nets:small", normalize=True), OwnModel(function="nets:small"))


@pytest.mark.parametrize(
    ("saved", "named", "fine"),
    [
        (FromFile(depth=3), Mlp(), True),
        (FromFile(weights="a"), FromFile(weights="a", depth=5), True),
        (FromFile(weights="a"), FromFile(weights="b"), False),
        (FromFile(weights="a"), FromFile(), False),
        (FromFile(weights="a"), FromElsewhere(weights="a"), False),
        (FromFile(layers=("a",)), FromFile(layers=("a",)), True),
        (FromFile(layers=("a",)), FromFile(weights="a"), False),
        (FromFile(weights="a", layers=("b",)), FromFile(weights="a"), False),
    ],
)
def test_every_text_of_a_plugins_model_must_be_what_the_user_named(saved: Model, named: Model, fine: bool) -> None:
    if fine:
        check_vouched(Choice("from-file"), saved, named)
        return
    with pytest.raises(
        RequestError, match=r"asks for the model `from-file:(weights|layers)=.*could name any code or file"
    ):
        check_vouched(Choice("from-file"), saved, named)


def test_neurons_from_a_file_name_nothing_outside_at_all() -> None:
    check_vouched(Choice("scripted"), Scripted(steps=7), None)
    with pytest.raises(
        RequestError, match=r"asks for the neuron `scripted:rule=x\.py`.*Train the network again in this"
    ):
        check_vouched(Choice("scripted"), Scripted(rule="x.py"), None)


@component
class Around(WrappingModel):
    """A model around another one."""

    def wrap(self, network: nn.Module, info: DataInfo) -> nn.Module:
        raise AssertionError


@pytest.mark.parametrize(
    ("saved", "named", "refused"),
    [
        (Around(model="mlp:hidden=3", neuron="lif:steps=2"), None, ""),
        (Around(model="python:nets:small"), Mlp(), r"asks for the model `python:nets:small`.*`--model python:nets"),
        (
            Around(model="python:nets:small"),
            Around(model="python:nets:other"),
            r"`python:nets:small`, whose `function`",
        ),
        (Around(model="python:nets:small"), OwnModel(function="nets:small"), ""),
        (Around(model="python:nets:small"), Around(model="python:nets:small"), ""),
        (OwnModel(function="nets:small"), Around(model="python:nets:small"), ""),
        (Around(neuron="scripted:rule=x"), Mlp(), r"asks for the neuron `scripted:rule=x`.*Train the network again"),
    ],
)
def test_what_a_model_has_inside_is_held_to_the_same(
    saved: Model, named: Model | None, refused: str, announce: Announce
) -> None:
    announce(Scripted, "scripted")
    if not refused:
        check_vouched(Choice("around"), saved, named)
        return
    with pytest.raises(RequestError, match=refused):
        check_vouched(Choice("around"), saved, named)

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.access import Access
from rcframe.api import Attack
from rcframe.choice import parse_choice
from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.networks.spiking import SpikingNetwork
from rcframe.options import component, option
from rcframe.registry import registry
from rcframe.session import keeping
from rcframe.testing.toys import CLASSES, some_images, toy_dataset, trained_network
from rcframe.wrapping import WrappingAttack, WrappingModel, model_in_brief
from tests.conftest import Announce


@component
class Darker(Attack):
    """Makes images darker, in l2 only, and asks for probabilities."""

    steps: int = option(default=1, help="Steps.")

    access = Access.PROBS
    norms = ("l2",)
    iterated = False
    nearest = True

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        source.probabilities(x)
        return x - 0.01 * self.steps

    def stronger(self) -> Attack:
        return Darker(steps=2 * self.steps)

    def thorough(self) -> Attack:
        return Darker(steps=100)


@component
class Twice(WrappingAttack):
    """Does it twice."""

    mark: str = option(default="", help="Something of its own.")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return self.inner.craft(source, self.inner.craft(source, x, y, threat), y, threat)


@pytest.fixture(autouse=True)
def announced(announce: Announce) -> None:
    announce(Darker, "darker")
    announce(Twice, "twice")


def test_a_wrapper_has_the_traits_of_what_it_wraps() -> None:
    twice = rc.attack("twice:attack=darker")
    assert (twice.access, twice.norms, twice.iterated, twice.nearest) == (Access.PROBS, ("l2",), False, True)
    assert Twice.access == Attack.access, "the class itself stays as it is"


def test_options_of_the_inner_attack_stand_in_parentheses() -> None:
    twice = rc.attack("twice:attack=(darker:steps=3),mark=a")
    assert isinstance(twice, Twice)
    assert twice.inner == Darker(steps=3)


def test_it_crafts_with_what_it_wraps() -> None:
    (x, y), model = some_images(), trained_network()
    moved = rc.attack("twice:attack=darker")(model, 0.5 + x / 4, y, eps=100, norm="l2")
    assert torch.allclose(moved, 0.5 + x / 4 - 0.02, atol=1e-6)


def test_stronger_and_thorough_reach_the_inner_attack_and_keep_what_is_the_wrappers() -> None:
    twice = rc.attack("twice:attack=(darker:steps=3),mark=a")
    stronger, thorough = twice.stronger(), twice.thorough()
    assert isinstance(stronger, Twice)
    assert isinstance(thorough, Twice)
    assert (stronger.inner, thorough.inner) == (Darker(steps=6), Darker(steps=100))
    assert stronger.mark == thorough.mark == "a"


@pytest.mark.parametrize(("spec", "sentence"), [("twice", "needs an attack inside"), ("twice:darkr", "darker")])
def test_without_an_attack_inside_it_is_refused(spec: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        rc.attack(spec)


def test_the_code_of_the_inner_attack_is_part_of_what_determines_a_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keeping, "code_of", lambda modules: dict.fromkeys(modules, "digest"))
    spec = "twice:attack=(eot:attack=fgsm)"
    parts = keeping.method_parts(parse_choice(spec, "attack"), rc.attack(spec), Threat(0.1))
    assert parts is not None
    assert {f"code of {module}" for module in (__name__, "rcframe_attacks.wrappers", "rcframe_attacks.fgsm")} <= {
        *parts
    }


@component
class Negated(WrappingModel):
    """A model whose outputs have the other sign."""

    def wrap(self, network: nn.Module, info: DataInfo) -> nn.Module:
        assert len(info.classes) == CLASSES
        return nn.Sequential(network, Minus())


class Minus(nn.Module):
    """Changes the sign."""

    def forward(self, x: Tensor) -> Tensor:
        return -x


def built(model: rc.Model) -> nn.Module:
    torch.manual_seed(0)
    return model.build(toy_dataset().info).eval()


def test_a_model_is_built_around_the_one_inside() -> None:
    x, _ = some_images()
    inside = registry().make("model", "mlp:hidden=4")
    assert isinstance(inside, rc.Model)
    assert torch.equal(built(Negated(model="mlp:hidden=4"))(x), -built(inside)(x))


def test_the_model_inside_may_spike() -> None:
    (spiking, _) = built(Negated(model="mlp:hidden=4", neuron="lif:steps=3")).children()
    assert isinstance(spiking, SpikingNetwork)
    assert spiking.steps == 3


def test_a_wrapping_model_is_made_of_what_is_inside() -> None:
    assert [part.kind for part in Negated(model="mlp", neuron="lif").parts()] == ["model", "neuron"]
    assert Negated(model="mlp").parts() == (registry().make("model", "mlp"),)


def test_one_wrapping_model_is_enough(announce: Announce) -> None:
    announce(Negated, "negated")
    with pytest.raises(RequestError, match=r"`negated:mlp` is one around another already.*model inside it, `mlp`\."):
        Negated(model="negated:mlp").parts()


@pytest.mark.parametrize(
    ("long", "brief"),
    [
        ("mlp:hidden=4,normalize=true", "mlp:hidden=4"),
        ("negated:model=(convnet:width=1.0,hidden=7),neuron=none", "negated:(convnet:hidden=7)"),
        ("negated:model=(convnet:normalize=true),neuron=lif", "negated:convnet,neuron=lif"),
        ("negated", "negated:convnet"),
    ],
)
def test_a_model_in_brief_is_the_same_model_with_the_one_inside_named(
    long: str, brief: str, announce: Announce
) -> None:
    announce(Negated, "negated")
    assert model_in_brief(long) == brief
    one, other = (registry().make("model", parse_choice(spec, "model")) for spec in (long, brief))
    assert list(map(rc.spelled, one.parts())) == list(map(rc.spelled, other.parts()))
    assert type(one) is type(other)

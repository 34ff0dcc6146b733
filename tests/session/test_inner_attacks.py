from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack, Data, StudentStrategy
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.options import Number, component
from rcframe.session.assemble import Assembly, Refusal, assemble, build_parts, check_settings
from rcframe.session.config import RunConfig, make_config
from rcframe.session.inner_attacks import inner_attacks, unlike_measured
from rcframe.testing.toys import MODEL, toy_dataset
from rcframe.training.compute import Compute
from rcframe.training.context import Run
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

if TYPE_CHECKING:
    from tests.conftest import Announce


@component
class Blind(Training, StudentStrategy):
    """A student that reads no data."""

    access = Access.NONE
    data = Data.NONE

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        yield self.stage(run, student, supervised)


@component
class Particular(Attack):
    """An attack that works on no network."""

    def unsupported(self, module: nn.Module) -> str:
        return "its first layer is green"

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x


class Deaf(nn.Module):
    """A network whose outputs carry no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 3)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(x.flatten(1))
        return logits.detach()


def deaf_network(info: object) -> nn.Module:
    torch.manual_seed(0)
    return Deaf()


def config_of(**settings: object) -> RunConfig:
    return make_config({"model": MODEL, "eps": "0.1", **settings})


def assembled(config: RunConfig) -> Assembly:
    return assemble(config, build_parts(config), toy_dataset(train=12, test=6), Compute())


def test_the_attacks_of_all_methods_are_found() -> None:
    config = config_of(
        teacher="plain:attack=fgsm", student=["plain", "kd:attack=(pgd:steps=3)", "plain:attack=(pgd:steps=4)"]
    )
    found = list(inner_attacks(config, build_parts(config)))
    assert [str(one) for one in found] == [
        "Option `attack` of teacher `plain`",
        "Option `attack` of student `kd`",
        "Option `attack` of student `plain`",
    ]
    assert [type(one.attack).__name__ for one in found] == ["FGSM", "PGD", "PGD"]


def unlike(**settings: object) -> list[str]:
    """The data set's customary radius is 8/255."""
    config = config_of(**settings)
    return list(unlike_measured(config, build_parts(config), Number("8/255")))


def test_a_radius_of_training_that_is_not_measured_is_told() -> None:
    assert unlike(attack="pgd", eps="0.2", teacher="plain:attack=fgsm", student="kd:attack=fgsm,attack_eps=0.1") == [
        "Teacher `plain` is trained on images attacked in linf at 8/255, but measured in linf at 0.2. Its option "
        "attack_eps sets the former, --eps the latter.",
        "Student `kd` is trained on images attacked in linf at 0.1, but measured in linf at 0.2. Its option "
        "attack_eps sets the former, --eps the latter.",
    ]
    (curve,) = unlike(certifier="convex", eps="0:0.2:0.05", student="kd:attack=fgsm")
    assert "but measured in linf at 0:0.2:0.05" in curve
    (norm,) = unlike(attack="pgd", norm="l2", eps="0.2", student="kd:attack=pgd,attack_eps=0.2")
    assert "attacked in linf at 0.2, but measured in l2 at 0.2" in norm


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"attack": "pgd", "eps": "8/255", "student": "kd:attack=fgsm"}, id="customary"),
        pytest.param({"attack": "pgd", "eps": "0.2", "student": "kd:attack=fgsm,attack_eps=0.2"}, id="named"),
        pytest.param({"attack": "pgd", "eps": "0,8/255,0.2", "student": "kd:attack=fgsm"}, id="on the curve"),
        pytest.param({"eps": "0.2", "student": "kd:attack=fgsm"}, id="nothing is measured"),
        pytest.param({"attack": "pgd", "eps": "0.2", "student": "kd"}, id="nothing is attacked in training"),
    ],
)
def test_a_radius_of_training_that_is_measured_is_not(settings: dict[str, object]) -> None:
    assert unlike(**settings) == []


@pytest.mark.parametrize("setting", ["teacher", "student"])
def test_what_cannot_be_trained_on_is_refused_before_anything_is_loaded(setting: str) -> None:
    config = config_of(**{setting: "plain:attack=pgx"})
    with pytest.raises(RequestError, match=rf"^In the option `attack` of {setting} `plain`: No attack named `pgx`"):
        check_settings(config, build_parts(config))


def test_a_student_without_data_cannot_be_trained_on_attacked_images(announce: Announce) -> None:
    announce(Blind, "blind")
    assembled(config_of(student="blind"))
    with pytest.raises(RequestError, match=r"`attack` of student `blind`: `pgd` has nothing to attack"):
        assembled(config_of(student="blind:attack=pgd"))


@pytest.mark.parametrize("setting", ["teacher", "student"])
def test_an_attack_is_asked_whether_it_can_attack_the_network(setting: str, announce: Announce) -> None:
    announce(Particular, "particular")
    with pytest.raises(Refusal, match="cannot attack this network in training: its first layer is green") as raised:
        assembled(config_of(**{setting: "plain:attack=particular"}))
    assert raised.value.setting == setting


def test_a_network_without_gradients_is_refused_for_the_one_that_is_trained() -> None:
    deaf = f"python:{__name__}:deaf_network"
    with pytest.raises(Refusal, match=r"Option `attack` of student `plain` cannot attack .* no gradient leads"):
        assembled(config_of(student_model=deaf, student="plain:attack=pgd"))
    assembled(config_of(student_model=deaf, teacher="plain:attack=pgd"))
    assembled(config_of(student_model=deaf, student="plain:attack=uniform"))

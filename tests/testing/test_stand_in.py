from __future__ import annotations

import pytest
from torch import Tensor

from rcframe.api import Attack
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.options import component, option
from rcframe.registry import registry
from rcframe.testing import checks_of
from rcframe.testing.stand_in import StandIn, hold, stand_in_announced
from rcframe.testing.subject import STAND_IN, Subject
from rcframe.wrapping import WrappingAttack
from tests.conftest import Announce


@component
class Bare(WrappingAttack):
    """Does what is inside, which it does not name."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return self.inner.craft(source, x, y, threat)


@component
class Named(Bare):
    """Names what is inside."""

    attack: str = option(default="fgsm", help="The attack inside.", positional=True)


def test_a_wrapper_without_an_attack_of_its_own_keeps_every_promise(announce: Announce) -> None:
    announce(Bare, "bare")
    checks = list(checks_of("rcframe-tests"))
    assert len(checks) > 10
    for check in checks:
        if check.name != "entry_module_is_free_of_torch":
            check()


@pytest.mark.parametrize(("cls", "inside"), [(Bare, STAND_IN), (Named, "fgsm")])
def test_the_stand_in_goes_where_nothing_is_named(cls: type[Attack], inside: str, announce: Announce) -> None:
    subject = Subject("rcframe-tests", __name__, announce(cls, "wrapper"))
    with stand_in_announced():
        made = subject.make()
    assert isinstance(made, WrappingAttack)
    assert made.attack == inside


def test_nobody_is_offered_the_stand_in_outside_a_check(announce: Announce) -> None:
    subject, before = Subject("rcframe-tests", __name__, announce(Bare, "bare")), list(registry().plugins)

    def check_fails(subject: Subject) -> None:
        assert registry().make("attack", STAND_IN) == StandIn()
        raise AssertionError("found it")

    with pytest.raises(AssertionError, match="found it"):
        hold(check_fails, subject)
    assert registry().plugins == before
    with pytest.raises(RequestError, match=f"No attack named `{STAND_IN}`"):
        registry().make("attack", STAND_IN)


def test_the_stand_in_is_a_sound_attack(announce: Announce) -> None:
    announce(StandIn, "alone")
    for check in checks_of("rcframe-tests"):
        if check.name != "entry_module_is_free_of_torch":
            check()

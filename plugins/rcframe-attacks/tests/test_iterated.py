from __future__ import annotations

import pytest
from rcframe_attacks.bim import BIM
from rcframe_attacks.iterated import Iterated
from rcframe_attacks.mim import MIM
from rcframe_attacks.pgd import PGD

import rcframe as rc
from rcframe import Threat

ATTACKS = [BIM, MIM, PGD]


@pytest.mark.parametrize(("attack", "reach"), [(BIM, 1.0), (MIM, 1.0), (PGD, 2.5)])
def test_all_steps_together_reach_as_far_as_documented(attack: type[Iterated], reach: float) -> None:
    assert attack(steps=8).step(Threat(0.1)) == pytest.approx(reach * 0.1 / 8)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_step_is_given_in_pixels_or_as_a_fraction_of_eps(attack: type[Iterated]) -> None:
    assert attack(step_size=0.01).step(Threat(0.1)) == 0.01
    assert attack(rel_step_size=0.5).step(Threat(0.1)) == 0.05


@pytest.mark.parametrize("name", ["bim", "mim", "pgd"])
def test_a_step_has_one_length(name: str) -> None:
    with pytest.raises(rc.RequestError, match=r"step_size=2/255 \(in pixels\) and rel_step_size=0.5 .*: give one"):
        rc.attack(f"{name}:step_size=2/255,rel_step_size=0.5")


@pytest.mark.parametrize("option", ["steps=0", "step_size=0", "rel_step_size=-1"])
@pytest.mark.parametrize("name", ["bim", "mim", "pgd"])
def test_nonsense_is_refused(name: str, option: str) -> None:
    with pytest.raises(rc.RequestError, match="it must be"):
        rc.attack(f"{name}:{option}")


@pytest.mark.parametrize("attack", [BIM, MIM])
def test_more_effort_is_twice_the_steps_and_thorough_is_every_step(attack: type[Iterated]) -> None:
    assert attack(steps=5).stronger() == attack(steps=10)
    assert attack(steps=5).thorough() == attack(steps=5, early_stop=False)
    assert attack.iterated

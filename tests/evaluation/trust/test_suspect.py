from __future__ import annotations

import pytest
import torch

from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.chance import Survivors
from rcframe.evaluation.trust.controls import Climb
from rcframe.evaluation.trust.sorts import Sort
from rcframe.evaluation.trust.suspect import SOME, some_of
from tests.evaluation.trust.suspects import COUNT, Ascent, Chance, Foreign, Idle, OneStep, plain, suspect


@pytest.mark.parametrize(("most", "places"), [(2, [1, 5]), (3, [1, 3, 5]), (9, [1, 3, 5, 7])])
def test_some_are_spread_evenly_over_those_that_fit(most: int, places: list[int]) -> None:
    assert some_of(torch.arange(8) % 2 == 1, most).tolist() == places
    assert some_of(torch.zeros(8, dtype=torch.bool), most).tolist() == []


def test_only_what_every_attack_left_right_withstood() -> None:
    examined = suspect(plain(), OneStep(), Chance())
    findings = examined.findings
    findings.clean[0], findings.attacked["onestep"][0], findings.attacked["chance"][0] = False, True, True
    findings.clean[1], findings.attacked["onestep"][1], findings.attacked["chance"][1] = True, True, False
    findings.clean[2], findings.attacked["onestep"][2], findings.attacked["chance"][2] = True, True, True
    assert examined.withstood[:3].tolist() == [False, False, True]
    assert examined.withstanding("onestep")[:3].tolist() == [False, True, True]


def test_attacks_are_found_by_their_sort() -> None:
    examined = suspect(plain(), OneStep(), Chance(), Ascent(), Foreign())
    assert list(examined.of_sort(Sort.SINGLE_STEP, Sort.ITERATED)) == ["onestep", "ascent"]
    assert list(examined.of_sort(Sort.NOISE)) == ["chance"]


def test_what_an_attack_breaks_is_counted_by_the_network_itself() -> None:
    examined = suspect(plain(), Idle())
    which = torch.tensor([3, 50, 120, 7])
    broken = examined.broken(Climb(), which)
    x, y = examined.batch(which)
    assert torch.equal(y, which % 3)
    moved = Climb()(examined.module, x, y, eps=0.2)
    assert torch.equal(broken, predict(examined.module, moved) != y)
    assert examined.broken(Climb(), which, eps=0.5).all()
    assert not examined.broken(Climb(), which, eps=0.001).any()
    assert examined.broken(Climb(), which[:0]).tolist() == []


def test_a_transfer_is_crafted_on_the_other_network_and_judged_by_this_one() -> None:
    own = suspect(plain(), Idle(), threat=Threat(0.3))
    other = suspect(plain(), Idle(), threat=Threat(0.3), other=plain())
    which = torch.arange(60)
    assert torch.equal(other.broken(Climb(), which, transfer=True), other.broken(Climb(), which))
    x, y = own.batch(which)
    moved = Climb()(own.module, x, y, eps=0.3, source=own.other)
    assert torch.equal(own.broken(Climb(), which, transfer=True), predict(own.module, moved) != y)


def test_firm_are_those_that_withstood_more_effort_too() -> None:
    examined = suspect(plain(), Ascent(stride=0.5), Idle())
    (broken,) = examined.with_effort.values()
    assert len(examined.retried) == len(broken) == SOME
    assert examined.withstood[examined.retried].all()
    assert broken.any()
    assert examined.firm.tolist() == examined.retried[~broken].tolist()


def test_more_effort_draws_from_the_seed_and_leaves_the_generators_alone() -> None:
    drawn = torch.get_rng_state()
    assert list(suspect(plain(), Ascent()).with_effort) == ["ascent"]
    assert torch.equal(torch.get_rng_state(), drawn)


def test_survivors_are_counted_among_the_images_that_were_attacked() -> None:
    examined = suspect(plain(), Idle())
    examined.findings.clean[:10] = False
    examined.findings.attacked["idle"][:20] = False
    assert examined.among(examined.withstood, torch.arange(5)) == Survivors(COUNT - 10, COUNT - 20, 5)

from __future__ import annotations

import foolbox.attacks as theirs
import pytest
from rcframe_foolbox.names import TheirClass
from rcframe_foolbox.traits import iterates, looks_for_nearest, norms_of, why_not

from rcframe import Norm


@pytest.mark.parametrize(
    ("cls", "norms"),
    [
        (theirs.LinfPGD, ("linf",)),
        (theirs.L2AdditiveUniformNoiseAttack, ("l2",)),
        (theirs.LInfFMNAttack, ("linf",)),
        (theirs.HopSkipJumpAttack, ("linf", "l2")),
        (theirs.InversionAttack, ("linf", "l2")),
        (theirs.EADAttack, ()),
        (theirs.SpatialAttack, ()),
    ],
)
def test_norms_are_those_of_the_attack_s_distance(cls: TheirClass, norms: tuple[Norm, ...]) -> None:
    assert norms_of(cls) == norms


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (theirs.SpatialAttack, "turns and shifts"),
        (theirs.DatasetAttack, "from a data set"),
        (theirs.BinarizationRefinementAttack, "another attack found"),
        (theirs.L1PGD, "measures changes in L1"),
        (theirs.L0FMNAttack, "measures changes in L0"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(cls: TheirClass, reason: str) -> None:
    assert reason in (why_not(cls) or "")


def test_steps_and_noise_are_not_iterated_and_minimal_changes_are_nearest() -> None:
    assert [iterates(cls) for cls in (theirs.FGSM, theirs.LinfRepeatedAdditiveUniformNoiseAttack, theirs.LinfPGD)] == [
        False,
        False,
        True,
    ]
    assert [looks_for_nearest(cls) for cls in (theirs.LinfPGD, theirs.L2DeepFoolAttack, theirs.DDNAttack)] == [
        False,
        True,
        True,
    ]

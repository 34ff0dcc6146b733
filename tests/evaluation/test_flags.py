from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rcframe.api import Attack
from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.flags import Findings, difference_flags, ruled_out_flags, trust_flags
from rcframe.evaluation.trust.flag import Kind
from tests.evaluation.trust.suspects import Ascent, Blind, Chance, Foreign, Idle, OneStep


def first(right: int, n: int = 200) -> Tensor:
    """The first `right` of `n` images are right."""
    return torch.arange(n) < right


def test_sound_findings_raise_no_flag() -> None:
    findings = Findings(first(180), attacked={"climb": first(100)}, certified={"convex": first(50)})
    assert list(trust_flags("student", findings, {"climb": Ascent()})) == []


# -- too few images ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "role", "flagged"), [(99, "student", 1), (100, "student", 0), (99, "teacher", 0)])
def test_few_images_are_mentioned_once(n: int, role: str, flagged: int) -> None:
    flags = list(trust_flags(role, Findings(first(50, n))))
    assert len(flags) == flagged
    assert all(f"only {n} images" in flag and flag.kind is Kind.FEW_IMAGES for flag in flags)


def test_classes_without_a_measured_image_are_told_once() -> None:
    findings = Findings(clean=torch.ones(200, dtype=torch.bool), unseen=("cat", "dog"))
    assert list(trust_flags("teacher", findings)) == []
    (flag,) = trust_flags("student", findings)
    assert flag == "no image of cat, dog was measured; the accuracy is that of the other classes"


def test_a_visible_difference_on_too_few_images_is_mentioned() -> None:
    """8 images only the student gets right, 4 only the teacher: with one more each, 14 of 202 with a sum of 4.

    So the half width is 1.96 sqrt(14 / 202 - (4 / 202)^2) / sqrt(202) = 3.62 points, and 200 (3.62 / 2)^2 = 655.
    """
    student, teacher = first(100), first(104)
    teacher[:8] = False
    (flag,) = difference_flags(
        Findings(first(200), attacked={"climb": teacher}), Findings(first(200), attacked={"climb": student})
    )
    assert flag.kind is Kind.DIFFERENCE
    assert flag == (
        "under climb the student is 2.0 points above the teacher, but on 200 images that may be chance (± 3.6); to "
        "tell them apart would take about 660 images, or other seeds"
    )


@pytest.mark.parametrize(
    ("student", "teacher", "flagged"),
    [
        pytest.param(first(100), first(103), 0, id="too small to talk about"),
        pytest.param(first(100), first(140), 0, id="beyond noise"),
        pytest.param(first(100), first(104), 1, id="neither"),
        pytest.param(first(104), first(100), 1, id="the other way"),
        pytest.param(first(100), first(100), 0, id="none"),
    ],
)
def test_a_difference_is_mentioned_if_it_is_visible_and_may_be_chance(
    student: Tensor, teacher: Tensor, flagged: int
) -> None:
    mine, theirs = (Findings(first(200), attacked={"climb": right}) for right in (student, teacher))
    assert len(list(difference_flags(theirs, mine))) == flagged


# -- no better than chance --------------------------------------------------------------------------------------------


def classes(*counts: int) -> Tensor:
    """So many images of the first class, so many of the second, and so on."""
    return torch.cat([torch.full((count,), label) for label, count in enumerate(counts)])


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_network_that_guesses_is_mentioned_whichever_it_is(role: str) -> None:
    """Wilson's interval of 24 of 200, by hand: (0.12 + 0.0096 ± 0.0460) / 1.0192."""
    (flag,) = trust_flags(role, Findings(first(24), labels=classes(*[20] * 10)))
    assert flag == (
        f"the {role} has 12.0 [8.2, 17.2]% of 200 images right, which does not tell it from one that answers the "
        "commonest class every time (10.0%); look at its training and its labels before anything else that was "
        "measured of it"
    )
    assert flag.kind is Kind.CHANCE


@pytest.mark.parametrize(("right", "flagged"), [(0, 1), (25, 1), (26, 0), (200, 0)])
def test_whether_a_network_is_better_than_chance_is_asked_image_by_image(right: int, flagged: int) -> None:
    """Of ten classes of 20 images, the first all right: 5 others and no loss have a chance of 1 in 32, 6 of 1 in 64."""
    assert len(list(trust_flags("student", Findings(first(right), labels=classes(*[20] * 10))))) == flagged


@pytest.mark.parametrize(("right", "flagged"), [(160, 1), (190, 0)])
def test_chance_is_the_share_of_the_commonest_class(right: int, flagged: int) -> None:
    """With 160 of 200 images of one class, 80% take no skill."""
    assert len(list(trust_flags("student", Findings(first(right), labels=classes(20, 160, 20))))) == flagged


def test_uneven_classes_do_not_hide_what_a_network_has_learned() -> None:
    """95% of the images take no skill; ten of the others are more than chance, although the interval holds 95%."""
    assert list(trust_flags("student", Findings(first(960, 1000), labels=classes(950, 50)))) == []


@pytest.mark.parametrize("others", [0, 2, 5])
def test_too_few_images_of_other_classes_tell_nothing_of_chance(others: int) -> None:
    assert list(trust_flags("teacher", Findings(first(200), labels=classes(200 - others, others)))) == []


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (classes(200), "(50.0%): it answers one class every time; look"),
        (classes(200) - 1, "(50.0%): its outputs are no numbers; look"),
        (classes(199, 1), "(50.0%); look"),
    ],
    ids=["one class", "no class", "two classes"],
)
def test_a_network_that_always_answers_the_same_is_told_so(answers: Tensor, said: str) -> None:
    findings = Findings(first(100), labels=classes(100, 100), answers=answers.to(torch.int16))
    (flag,) = trust_flags("teacher", findings)
    assert said in flag


# -- classes that the teacher rules out ---------------------------------------------------------------------------


def test_classes_ruled_out_are_told_to_a_student_that_leaves_them_out() -> None:
    released = torch.tensor([[1.0, -torch.inf, -torch.inf, 0.0], [1.0, 2.0, 3.0, -torch.inf]])
    (flag,) = ruled_out_flags(["logits:epochs=1", "other"], released)
    assert flag.kind is Kind.RULED_OUT
    assert flag.startswith(
        "the teacher rules out 37.5% of the classes by logits of -inf, which `logits:epochs=1`, `oth"
    )
    assert list(ruled_out_flags([], released)) == []
    assert list(ruled_out_flags(["logits"], released.nan_to_num(neginf=-1e9))) == []


# -- contradictions ---------------------------------------------------------------------------------------------------


def test_a_broken_certificate_is_mentioned_with_the_number_of_images() -> None:
    findings = Findings(
        first(180),
        attacked={"climb": first(100), "step": first(120)},
        certified={"convex": ~first(80) & first(103), "loose": first(100)},
    )
    assert list(trust_flags("student", findings)) == [
        "climb broke 3 images of the student that convex certified: one of them is wrong"
    ]


def test_faults_of_attacks_are_mentioned_with_what_became_of_them() -> None:
    faults = {"long": Faults(outside=3), "odd": Faults(broken=2), "fine": Faults()}
    flags = list(trust_flags("teacher", Findings(first(180), faults=faults)))
    assert {flag.kind for flag in flags} == {Kind.FAULTS}
    assert flags[0].startswith("long proposed 3 images of the teacher further away than eps; they were moved back")
    assert flags[1].startswith("odd proposed 2 images of the teacher that are not finite; these count as withstood")
    assert len(flags) == 2


# -- attacks that find what stronger ones should ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attack", "kind"),
    [
        (Chance(), Kind.NOISE),
        (OneStep(), Kind.SINGLE_STEP),
        (Blind(), Kind.GRADIENT_FREE),
        (Foreign(), Kind.TRANSFER),
    ],
    ids=str,
)
def test_an_attack_that_outdoes_a_stronger_sort_is_mentioned(attack: Attack, kind: Kind) -> None:
    """It breaks the 30 images that the other leaves, and is weaker on the whole."""
    findings = Findings(first(180), attacked={"climb": first(30), "other": ~first(30) & first(180)})
    (flag,) = trust_flags("student", findings, {"climb": Ascent(), "other": attack})
    assert flag.kind is kind
    assert flag.startswith("other broke 30 of 30 images of the student that withstood climb: ")
    assert ("or these take too few steps" in flag) is (kind in {Kind.GRADIENT_FREE, Kind.TRANSFER})
    assert ("or take too few steps" in flag) is (kind is Kind.SINGLE_STEP)


@pytest.mark.parametrize(("missed", "flagged"), [(2, 0), (3, 1)])
def test_what_any_attack_may_miss_is_not_mentioned(missed: int, flagged: int) -> None:
    """0.2% of 180 images are 0.36: that it is 2 or more has a chance of 5%, 3 or more of 0.6%."""
    findings = Findings(first(180), attacked={"climb": first(30), "other": ~first(missed) & first(180)})
    assert len(list(trust_flags("student", findings, {"climb": Ascent(), "other": OneStep()}))) == flagged


def test_images_that_were_wrong_to_begin_with_were_broken_by_nobody() -> None:
    findings = Findings(first(100), attacked={"climb": first(200), "other": first(100)})
    assert list(trust_flags("student", findings, {"climb": Ascent(), "other": OneStep()})) == []


def test_several_strong_attacks_are_taken_together() -> None:
    attacked = {"climb": first(30), "other": ~first(30) & first(180), "third": ~first(30) & first(180)}
    attacks = {"climb": Ascent(), "other": OneStep(), "third": Idle()}
    assert list(trust_flags("student", Findings(first(180), attacked=attacked), attacks)) == []


@pytest.mark.parametrize(("attack", "flagged"), [(Chance(), 1), (Blind(), 0), (Foreign(), 0)], ids=str)
def test_a_single_step_is_held_against_noise_only(attack: Attack, flagged: int) -> None:
    findings = Findings(first(180), attacked={"step": first(30), "other": ~first(30) & first(180)})
    assert len(list(trust_flags("student", findings, {"step": OneStep(), "other": attack}))) == flagged


def test_the_way_round_that_is_expected_is_not_mentioned() -> None:
    attacked = {"climb": first(10), "step": first(60), "noise": first(170), "blind": first(90), "foreign": first(120)}
    attacks = {"climb": Ascent(), "step": OneStep(), "noise": Chance(), "blind": Blind(), "foreign": Foreign()}
    assert list(trust_flags("student", Findings(first(180), attacked=attacked), attacks)) == []

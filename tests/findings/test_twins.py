from __future__ import annotations

from collections.abc import Mapping

import pytest

from rcframe.api import Norm
from rcframe.findings.figures import Figure, figures
from rcframe.findings.twins import twins, unlike_protocols
from rcframe.options import Number, Value
from rcframe.session.evidence import About
from tests.findings.folders_made import Made, falls, right
from tests.findings.outputs_made import answered, logits

BOTH = (right(20), right(10))


def accuracies(first: Made, second: Made) -> list[tuple[str | None, str | None]]:
    """What of the students' accuracies belongs together."""
    found = twins(figures(first.report), figures(second.report))
    return [
        (mine.about.what if mine else None, theirs.about.what if theirs else None)
        for mine, theirs in found
        if (shown := mine or theirs)
        and shown.measured
        and shown.about.role == "student"
        and shown.about.what != "clean"
    ]


def attacked(
    *specs: str, norm: Norm = "linf", eps: str = "0.1", seed: int = 0, options: Mapping[str, Value] | None = None
) -> Made:
    return Made(attacked=dict.fromkeys(specs, BOTH), norm=norm, eps=eps, seed=seed, options=options or {})


def test_figures_of_equal_names_belong_together_and_others_stand_alone() -> None:
    found = accuracies(attacked("fgsm", "pgd"), attacked("pgd", "other"))
    assert found == [("fgsm", None), ("pgd", "pgd"), (None, "other")]


def test_figures_that_were_measured_the_same_way_belong_together_however_they_were_spelled() -> None:
    options: Mapping[str, Value] = {"steps": 10, "restarts": 1}
    first, second = (attacked(spec, options=options) for spec in ("pgd", "some-package/pgd:steps=10"))
    assert accuracies(first, second) == [("pgd", "some-package/pgd:steps=10")]


def test_no_figure_belongs_to_two() -> None:
    found = accuracies(attacked("pgd", "pgd:steps=10"), attacked("pgd:restarts=1"))
    assert found == [("pgd", "pgd:restarts=1"), ("pgd:steps=10", None)]


def test_other_options_make_other_figures() -> None:
    found = accuracies(attacked("pgd", options={"steps": 5}), attacked("pgd:steps=10", options={"steps": 10}))
    assert found == [("pgd", None), (None, "pgd:steps=10")]


def test_attacks_and_certifiers_of_one_name_do_not_belong_together() -> None:
    found = accuracies(attacked("box:a=1"), Made(certified={"box": BOTH}))
    assert found == [("box:a=1", None), (None, "certified by box")]
    found = accuracies(Made(certified={"box:a=1": BOTH}), Made(certified={"some/box": BOTH}))
    assert found == [("certified by box:a=1", "certified by some/box")]


def said(first: Made, second: Made) -> str:
    about = About("student", "pgd")
    return unlike_protocols(figures(first.report)[about], figures(second.report)[about])


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (attacked("pgd", options={"steps": 5}, norm="l2"), "norm linf and l2"),
        (attacked("pgd", options={"steps": 5}, eps="8/255"), "eps 0.1 and 8/255"),
        (attacked("pgd", options={"steps": 5, "start": "zero"}), "start not set and zero"),
        (attacked("pgd", options={"steps": 7}, eps="0.2"), "eps 0.1 and 0.2, steps 5 and 7"),
        (attacked("pgd"), "steps 5 and not set"),
        (attacked("pgd", options={"steps": 5}, seed=4), ""),
        (attacked("pgd", options={"steps": 5}, eps="1/10"), ""),
    ],
)
def test_what_makes_figures_incomparable_is_said(second: Made, words: str) -> None:
    assert said(attacked("pgd", options={"steps": 5}), second) == words


def test_numbers_are_compared_as_they_were_typed() -> None:
    first, second = (attacked("pgd", options={"step": value}) for value in (Number("2/255"), "2/255"))
    assert said(first, second) == ""


def test_clean_figures_have_no_protocol() -> None:
    about = About("student", "clean")
    assert unlike_protocols(figures(Made().report)[about], figures(Made(eps="0.5").report)[about]) == ""


def unlike_worst_cases(first: Made, second: Made) -> str:
    about = About("student", "worst case")
    return unlike_protocols(figures(first.report)[about], figures(second.report)[about])


def worst_of(*specs: str, radius: str = "0.1", options: Mapping[str, Value] | None = None) -> Made:
    radii = ("0", radius)
    both = (falls(4, 0, 6, radii=radii), falls(4, 0, 9, radii=radii))
    return Made(radii=radii, breaking=dict.fromkeys(specs, both), options=options or {})


def test_worst_cases_of_the_same_attacks_are_compared_however_these_were_spelled() -> None:
    options: Mapping[str, Value] = {"steps": 10}
    first, second = worst_of("pgd", "mim", options=options), worst_of("some/mim:steps=10", "pgd", options=options)
    assert unlike_worst_cases(first, second) == ""


@pytest.mark.parametrize("specs", [("pgd", "fgsm"), ("pgd", "mim", "fgsm")])
def test_worst_cases_of_other_attacks_are_not_compared(specs: tuple[str, ...]) -> None:
    said = unlike_worst_cases(worst_of("pgd", "mim"), worst_of(*specs))
    assert said.startswith("the worst case of pgd, mim and of pgd")
    assert unlike_worst_cases(worst_of(*specs), worst_of("pgd", "mim"))


def test_worst_cases_at_another_radius_or_with_other_options_are_not_compared() -> None:
    assert unlike_worst_cases(worst_of("pgd", "mim"), worst_of("pgd", "mim", radius="0.2")) == "eps 0.1 and 0.2"
    fewer, more = (worst_of("pgd", "mim", options={"steps": steps}) for steps in (5, 10))
    assert unlike_worst_cases(fewer, more) == "other options of pgd, mim"


def test_peaks_at_two_temperatures_cannot_be_compared() -> None:
    def peaks(temperature: float) -> Figure:
        made = answered(Made(), logits(1), logits(2), temperature=temperature)
        return figures(made.report)[About("student", "peaks")]

    assert unlike_protocols(peaks(4.0), peaks(4.0)) == ""
    assert unlike_protocols(peaks(4.0), peaks(20.0)) == "softened at temperature 4 and 20"

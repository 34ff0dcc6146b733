from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np
import pytest

from rcframe.errors import RequestError
from rcframe.evaluation.estimates import estimate, estimate_amounts
from rcframe.evaluation.evaluate import Accuracy
from rcframe.findings.figures import (
    at_radius,
    compare,
    compare_pairs,
    estimate_of,
    figure_of,
    figures,
    judgements,
    kind_of,
    paired,
    parse_about,
    points,
    same_images,
    unit_of,
)
from rcframe.findings.folders import Group, collect
from rcframe.findings.statistics import (
    compare_amounts,
    compare_counts,
    compare_images,
    compare_proportions,
    compare_values,
)
from rcframe.options import Number
from rcframe.session.evidence import About
from tests.findings.folders_made import IMAGES, Judged, Made, falls, make_run, right
from tests.findings.outputs_made import answered, logits

CLEAN = About("student", "clean")
ATTACKED = About("student", "pgd:steps=5")
WEIGHT = About("student", "parameters")
MakeGroup = Callable[[Sequence[Made]], Group]


@pytest.fixture
def group(tmp_path: Path) -> MakeGroup:
    """Make a group of runs in a folder of its own."""

    def make(runs: Sequence[Made]) -> Group:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        for run in runs:
            make_run(folder / str(run.seed), run)
        (found,) = collect([folder]).groups
        return found

    return make


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("student clean", CLEAN),
        ("teacher pgd:steps=5", About("teacher", "pgd:steps=5")),
        ("  student   certified by convex ", About("student", "certified by convex")),
        ("student nonzero", About("student", "nonzero")),
        ("student worst case", About("student", "worst case")),
        ("teacher pgd:steps=5 at 8/255", About("teacher", "pgd:steps=5 at 8/255")),
        ("teacher worst case at 0.01", About("teacher", "worst case at 0.01")),
    ],
)
def test_a_figure_is_named_by_its_model_and_what_was_measured(text: str, about: About) -> None:
    assert parse_about(text) == about


@pytest.mark.parametrize("text", ["", "student", "student ", "clean", "pupil clean", "Student clean"])
def test_what_names_no_figure_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"Cannot read the figure `.*`: write `teacher` or `student`, then `clean`"):
        parse_about(text)


# -- of a run ---------------------------------------------------------------------------------------------------------


def test_every_figure_of_a_run_is_there_the_teachers_first() -> None:
    measured = {"pgd:steps=5": (right(20), right(10))}
    report = Made(attacked=measured, certified={"convex": (right(4), right(2))}, parameters=60).report
    found = figures(report)
    whats = ["clean", "pgd:steps=5", "certified by convex", "parameters", "nonzero", "bytes"]
    assert list(found) == [About("teacher", what) for what in whats] + [About("student", what) for what in whats]
    assert all(figure.about == about for about, figure in found.items())
    values = {about.what: found[about].value for about in found if about.role == "student"}
    assert values == {
        "clean": 30 / IMAGES,
        "pgd:steps=5": 10 / IMAGES,
        "certified by convex": 2 / IMAGES,
        "parameters": 60,
        "nonzero": 60,
        "bytes": 240,
    }
    assert [found[about].sort for about in found][:6] == ["accuracy"] * 3 + ["size"] * 3
    assert found[ATTACKED].measured == report.student.attacked["pgd:steps=5"]


def test_an_attack_and_a_certifier_of_one_name_are_two_figures() -> None:
    both = {"box": (right(1), right(2))}
    assert len(figures(Made(attacked=both, certified=both).report)) == 2 * (3 + 3)


# -- of curves --------------------------------------------------------------------------------------------------------

RADII = ("0", "0.01", "8/255")
#: Of 40 images: 4 wrong as they are, 6 broken at 0.01, 10 at 8/255; and the other attack breaks the others first.
FALLS = falls(4, 0, 6, 10, radii=RADII)
OTHERS = np.concatenate([FALLS[:4], FALLS[:3:-1]])
CURVED = Made(radii=RADII, breaking={"pgd:steps=5": (OTHERS, FALLS), "mim": (OTHERS, OTHERS)}, student=right(36))


def test_of_a_curve_its_last_point_and_the_worst_case_are_figures() -> None:
    found = figures(CURVED.report)
    names = [about.what for about in found if about.role == "student"]
    assert names == ["clean", "pgd:steps=5", "mim", "worst case", "parameters", "nonzero", "bytes"]
    assert found[ATTACKED].value == 20 / IMAGES
    # 20 withstand either attack; of the 16 that one of them breaks, none is broken by both.
    assert found[About("student", "worst case")].value == 4 / IMAGES
    assert list(found[About("student", "worst case")].attacks) == ["pgd:steps=5", "mim"]
    assert found[ATTACKED].attacks == {}


def test_the_points_of_a_curve_are_figures_with_their_radius_as_typed(group: MakeGroup) -> None:
    run = group([CURVED]).first
    found = points(run.report, ATTACKED)
    assert [(point.about.what, point.value) for point in found] == [
        ("pgd:steps=5 at 0", 36 / IMAGES),
        ("pgd:steps=5 at 0.01", 30 / IMAGES),
        ("pgd:steps=5 at 8/255", 20 / IMAGES),
    ]
    protocols = [point.measured.protocol for point in found if point.measured]
    assert [str(protocol.eps) for protocol in protocols if protocol] == list(RADII)
    assert [figure_of(run, point.about) for point in found] == list(found)
    assert [point.value * IMAGES for point in points(run.report, About("student", "worst case"))] == [36, 24, 4]


def test_what_has_no_curve_has_no_points(group: MakeGroup) -> None:
    run = group([CURVED]).first
    for what in ("pgd:steps=5 at 0.02", "clean at 0.01", "fgsm at 0.01", "pgd:steps=5 at ", "nonzero at 0.01"):
        assert figure_of(run, About("student", what)) is None
    for about in (CLEAN, WEIGHT, About("student", "fgsm")):
        assert points(run.report, about) == ()


@pytest.mark.parametrize("eps", RADII)
@pytest.mark.parametrize("what", ["pgd:steps=5", "worst case"])
def test_points_of_curves_are_compared_image_by_image(group: MakeGroup, what: str, eps: str) -> None:
    first, second = group([CURVED]), group([CURVED])
    about, other = (at_radius(About("student", name), Number(eps)) for name in (what, "mim"))
    # The radius 8/255 is no float32: an image that breaks there is broken there.
    radius = float(np.float32(float(Number(eps))))
    fallen = np.minimum(FALLS, OTHERS) if what == "worst case" else FALLS
    expected = compare_images((fallen > radius)[None], (radius < OTHERS)[None])
    assert compare(first, second, about, other) == expected


def test_a_point_of_a_curve_is_estimated_over_seeds(group: MakeGroup) -> None:
    runs = [CURVED, Made(seed=1, radii=RADII, breaking={"pgd:steps=5": (OTHERS, OTHERS)}, student=right(36))]
    about = at_radius(ATTACKED, Number("0.01"))
    assert estimate_of(group(runs), about) == estimate([30 / IMAGES, 30 / IMAGES], IMAGES)


def test_what_was_not_measured_is_missing(group: MakeGroup) -> None:
    found = group([Made()])
    assert figure_of(found.first, ATTACKED) is None
    assert estimate_of(found, ATTACKED) is None


def test_an_estimate_of_one_seed_is_that_of_its_images(group: MakeGroup) -> None:
    found = estimate_of(group([Made(student=right(30))]), CLEAN)
    assert found == estimate([0.75], IMAGES)


def test_an_estimate_of_several_seeds_is_that_of_their_figures(group: MakeGroup) -> None:
    runs = group([Made(seed=seed, student=right(count)) for seed, count in enumerate((30, 31, 35))])
    assert estimate_of(runs, CLEAN) == estimate([30 / IMAGES, 31 / IMAGES, 35 / IMAGES], IMAGES)


def test_an_estimate_of_a_size_rests_on_no_image(group: MakeGroup) -> None:
    found = estimate_of(group([Made()]), WEIGHT)
    assert found == estimate([50.0], 0)


def test_there_is_no_estimate_where_a_seed_lacks_the_figure(group: MakeGroup) -> None:
    runs = [Made(attacked={"pgd:steps=5": (right(3), right(2))}), Made(seed=1)]
    assert estimate_of(group(runs), ATTACKED) is None
    assert compare(group(runs), group(runs), ATTACKED) is None


# -- of two groups ----------------------------------------------------------------------------------------------------


def test_runs_of_equal_seeds_are_pairs(group: MakeGroup) -> None:
    first, second = (group([Made(seed=seed) for seed in seeds]) for seeds in ((1, 2, 4), (2, 3, 4)))
    assert [(run.report.seed, twin.report.seed) for run, twin in paired(first, second)] == [(2, 2), (4, 4)]
    assert [run.path for run, _ in paired(first, second)] == [run.path for run in first.runs[1:]]


def random_judgements(seed: int) -> Judged:
    return np.random.default_rng(seed).random(IMAGES) < 0.6


def test_judgements_of_the_same_images_are_compared_one_by_one(group: MakeGroup) -> None:
    mine, theirs = [random_judgements(1), random_judgements(2)], [random_judgements(3), random_judgements(4)]
    first, second = (group([Made(seed=seed, student=side[seed]) for seed in (0, 1)]) for side in (mine, theirs))
    assert compare(first, second, CLEAN) == compare_images(np.stack(mine), np.stack(theirs))


def test_two_figures_of_one_group_can_be_compared(group: MakeGroup) -> None:
    runs = group([Made(student=right(30), attacked={"pgd:steps=5": (right(9), right(12))})])
    assert compare(runs, runs, CLEAN, ATTACKED) == compare_images(right(30)[None], right(12)[None])


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [(None, "a"), ("a", None), (None, None), ("a", "b")],
    ids=["first unknown", "second unknown", "both unknown", "others"],
)
def test_without_the_same_images_only_counts_are_compared(
    group: MakeGroup, mine: str | None, theirs: str | None
) -> None:
    first, second = group([Made(student=right(30), images=mine)]), group([Made(student=right(20), images=theirs)])
    assert compare(first, second, CLEAN) == compare_proportions([Accuracy(30, IMAGES)], [Accuracy(20, IMAGES)])


def test_images_that_change_from_seed_to_seed_are_not_stacked(group: MakeGroup) -> None:
    """Each pair saw the same images, but the k-th image of one seed is another one than that of the next."""
    runs = [Made(seed=seed, student=right(30), images=f"images {seed}") for seed in (0, 1)]
    others = [Made(seed=seed, student=right(20), images=f"images {seed}") for seed in (0, 1)]
    first, second = group(runs), group(others)
    assert judgements(paired(first, second), CLEAN, CLEAN) is None
    counts = compare_proportions([Accuracy(30, IMAGES)] * 2, [Accuracy(20, IMAGES)] * 2)
    assert compare(first, second, CLEAN) == counts


def test_numbers_of_images_that_do_not_match_are_not_stacked(group: MakeGroup) -> None:
    first, second = group([Made(student=right(3, 10))]), group([Made(student=right(3, 12))])
    assert compare(first, second, CLEAN) == compare_proportions([Accuracy(3, 10)], [Accuracy(3, 12)])


def test_who_asks_for_counts_only_gets_their_wider_interval(group: MakeGroup) -> None:
    first, second = group([Made(student=right(30))]), group([Made(student=right(28))])
    found, by_image = compare(first, second, CLEAN, by_image=False), compare(first, second, CLEAN)
    assert found == compare_proportions([Accuracy(30, IMAGES)], [Accuracy(28, IMAGES)])
    assert found is not None
    assert by_image is not None
    assert not found.beyond_noise
    assert found.high - found.low > by_image.high - by_image.low


def test_sizes_are_compared_as_they_are(group: MakeGroup) -> None:
    first, second = group([Made(parameters=70)]), group([Made(parameters=50)])
    assert compare(first, second, WEIGHT) == compare_values([70], [50])


def test_there_is_nothing_to_compare_without_a_common_seed(group: MakeGroup) -> None:
    assert compare(group([Made(seed=0)]), group([Made(seed=1)]), CLEAN) is None
    assert compare_pairs([], CLEAN) is None


def test_whether_the_images_were_the_same_is_known_or_not(group: MakeGroup) -> None:
    def said(first: str | None, second: str | None) -> bool | None:
        return same_images(paired(group([Made(images=first)]), group([Made(images=second)])))

    assert said("a", "a") is True
    assert said("a", "b") is False
    assert said("a", None) is None


# -- of outputs -------------------------------------------------------------------------------------------------------

AGREEMENT = About("student", "agreement")
PEAKS = About("student", "peaks")
ERROR = About("student", "calibration error")


def softly(
    seed: int = 0,
    *,
    temperature: float = 4.0,
    sharpness: float = 4.0,
    run: int = 0,
    images: str | None = "same",
) -> Made:
    """A run whose student answers in its own way to the same images."""
    made = answered(
        Made(seed=run),
        logits(100 + run),
        logits(seed, sharpness=sharpness),
        released=logits(7),
        temperature=temperature,
    )
    return attrs.evolve(made, images=images)


def test_what_outputs_give_away_are_figures() -> None:
    report = softly().report
    found = figures(report)
    names = ["clean", "released", "calibration error", "peaks", "parameters", "nonzero", "bytes"]
    assert [about.what for about in found if about.role == "teacher"] == names
    assert [about.what for about in found if about.role == "student"] == ["clean", "agreement", *names[2:]]
    likeness, calibration, softness = (
        report.student.outputs.likeness,
        report.student.outputs.calibration,
        report.student.outputs.softness,
    )
    assert likeness
    assert calibration
    assert softness
    assert found[AGREEMENT].value == likeness.agreement.value
    assert found[ERROR].amount == calibration.error
    assert (found[PEAKS].amount, found[PEAKS].temperature) == (softness.peaks, 4.0)
    assert [found[about].sort for about in (AGREEMENT, ERROR, PEAKS)] == ["accuracy", "amount", "amount"]
    assert found[About("teacher", "released")].measured == report.teacher.released


def test_units_and_kinds_tell_which_figures_can_be_held_against_each_other() -> None:
    whats = ("clean", "agreement", "released", "calibration error", "peaks", "bytes")
    assert [unit_of(what) for what in whats] == [0.01, 0.01, 0.01, 0.01, 1.0, 1.0]
    assert [kind_of(what) for what in whats] == [
        *["an accuracy"] * 3,
        *("a calibration error", "a number of peaks", "a size"),
    ]


def test_agreement_and_what_is_released_are_compared_image_by_image(group: MakeGroup) -> None:
    made = [softly(number, run=number % 2) for number in range(4)]
    first, second = group(made[:2]), group(made[2:])
    for about, kept in ((AGREEMENT, [run.agreement for run in made]), (About("teacher", "released"), None)):
        judged = kept or [run.released for run in made]
        mine, theirs = (np.stack([one for one in some if one is not None]) for some in (judged[:2], judged[2:]))
        assert compare(first, second, about) == compare_images(mine, theirs)


def test_peaks_are_compared_image_by_image(group: MakeGroup) -> None:
    made = [softly(number, run=number % 2, sharpness=1 + number) for number in range(4)]
    first, second = group(made[:2]), group(made[2:])
    counts = [run.peaks[About("student", "clean")] for run in made]
    expected = compare_counts(np.stack(counts[:2]), np.stack(counts[2:]))
    assert compare(first, second, PEAKS) == expected
    assert expected.images == IMAGES
    teachers = [run.peaks[About("teacher", "clean")] for run in made]
    assert compare(first, second, PEAKS, About("teacher", "peaks")) == compare_counts(
        np.stack(counts[:2]), np.stack(teachers[2:])
    )


def test_peaks_of_other_images_are_compared_by_their_means(group: MakeGroup) -> None:
    made = [softly(1), softly(2, images="others")]
    amounts = [figures(run.report)[PEAKS].amount for run in made]
    assert amounts[0]
    assert amounts[1]
    found = compare(group(made[:1]), group(made[1:]), PEAKS)
    assert found == compare_amounts([amounts[0]], [amounts[1]])
    assert found.images == 0


def test_peaks_at_several_temperatures_are_not_compared(group: MakeGroup) -> None:
    assert compare(group([softly(1)]), group([softly(2, temperature=8)]), PEAKS) is None
    assert compare(group([softly(1)]), group([softly(2, temperature=8)]), AGREEMENT) is not None


def test_calibration_errors_are_compared_with_the_intervals_of_both(group: MakeGroup) -> None:
    made = [softly(1), softly(2)]
    amounts = [figures(run.report)[ERROR].amount for run in made]
    assert amounts[0]
    assert amounts[1]
    assert compare(group(made[:1]), group(made[1:]), ERROR) == compare_amounts([amounts[0]], [amounts[1]])


def test_over_seeds_amounts_have_an_interval_over_seeds_and_images(group: MakeGroup) -> None:
    made = [softly(1), softly(2, run=1)]
    amounts = [figures(run.report)[ERROR].amount for run in made]
    assert estimate_of(group(made), ERROR) == estimate_amounts([amount for amount in amounts if amount])
    assert estimate_of(group([softly(1), Made(seed=1)]), ERROR) is None


def test_a_run_without_evidence_is_compared_by_its_figures(group: MakeGroup) -> None:
    found = compare(group([softly(1, images=None)]), group([softly(2)]), AGREEMENT)
    assert found is not None
    assert found.images == 0

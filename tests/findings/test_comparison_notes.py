from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest

from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.findings.comparison import Comparison, compare_folders, compare_rows
from rcframe.findings.comparison_notes import gathered, legend, notes, summary
from tests.findings.folders_made import Made, make_matrix, make_run, make_seeds, make_unfinished, right, row


def compared(folder: Path, first: Made, second: Made) -> Comparison:
    return compare_folders(make_run(folder / "first", first), make_run(folder / "second", second))


def of_seeds(folder: Path, first: list[int], second: list[int]) -> Comparison:
    """Two runs of several seeds."""
    made = [
        make_seeds(folder / name, [Made(seed=seed) for seed in seeds]) for name, seeds in (("a", first), ("b", second))
    ]
    return compare_folders(*made)


def of_matrices(folder: Path, first: dict[str, Made], second: dict[str, Made]) -> Comparison:
    """Two matrices of one run each row."""
    sides = (("a", first), ("b", second))
    made = [make_matrix(folder / name, [(row(x), made) for x, made in runs.items()]) for name, runs in sides]
    return compare_folders(*made)


# -- the result in a sentence -----------------------------------------------------------------------------------------


def test_one_folder_twice_is_said(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "one")
    assert summary(compare_folders(folder, folder)) == "A and B are the same folder."


def test_exactly_equal_results_are_said(tmp_path: Path) -> None:
    assert summary(compared(tmp_path, Made(), Made())) == "The results are exactly equal."


def test_equal_results_of_other_settings_are_said(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(), Made(settings={"threads": 2}))
    assert summary(found) == "The results are exactly equal, although settings differ."


def test_equal_figures_of_unknown_images_are_not_called_exactly_equal(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(images=None), Made())
    assert summary(found) == "All figures are equal; whether the same images are right is not known."


def test_equal_counts_of_other_images_right_are_not_called_equal(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(), Made(student=np.roll(right(30), 5)))
    assert summary(found) == "None of 2 accuracies of these networks differs beyond noise."


def test_other_sizes_are_no_equal_results(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(), Made(parameters=40))
    assert summary(found) == "None of 2 accuracies of these networks differs beyond noise."


def test_equal_results_of_some_rows_are_not_called_equal_if_others_stand_alone(tmp_path: Path) -> None:
    found = of_matrices(tmp_path, {"x": Made(), "y": Made()}, {"x": Made(), "z": Made()})
    assert summary(found) == "None of 2 accuracies of these networks differs beyond noise."


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (Made(student=right(3)), "1 of 2 accuracies of these networks differs beyond noise."),
        (Made(student=right(3), teacher=right(3)), "2 of 2 accuracies of these networks differ beyond noise."),
    ],
)
def test_what_differs_beyond_noise_is_counted(tmp_path: Path, second: Made, words: str) -> None:
    assert summary(compared(tmp_path, Made(), second)) == words


def test_several_seeds_speak_of_more_than_these_networks(tmp_path: Path) -> None:
    first = make_seeds(tmp_path / "a", [Made(seed=seed, student=right(3)) for seed in (0, 1)])
    second = make_seeds(tmp_path / "b", [Made(seed=seed, student=right(39)) for seed in (0, 1)])
    assert summary(compare_folders(first, second)) == "1 of 2 accuracies differs beyond noise."


def test_nothing_compared_is_said(tmp_path: Path) -> None:
    assert summary(of_seeds(tmp_path, [0, 1], [2, 3])) == "No accuracy could be compared."


def test_the_legend_says_what_the_folders_hold(tmp_path: Path) -> None:
    first = make_matrix(tmp_path / "a", [(row(name, seed), Made(seed=seed)) for name in "xy" for seed in (0, 4)])
    second = make_matrix(tmp_path / "b", [(row("x"), Made())])
    assert legend(compare_folders(first, second)) == (f"A: {first} (2 rows, seeds 0, 4)", f"B: {second} (seed 0)")


def test_the_legend_names_the_rows_that_were_picked(tmp_path: Path) -> None:
    runs = [(row(name, seed), Made(seed=seed)) for name, seeds in (("x", (0, 1)), ("y", (1, 2))) for seed in seeds]
    matrix = make_matrix(tmp_path / "m", runs)
    found = compare_rows(matrix, matrix, ("y", "x"))
    assert legend(found) == (f"A: {matrix}, row `y` (seeds 1, 2)", f"B: {matrix}, row `x` (seeds 0, 1)")
    assert summary(found) == "The results are exactly equal."


# -- what a reader must know besides ----------------------------------------------------------------------------------

ONE = (
    "One network is held against one: the 95% intervals allow for other images only, and other seeds were not tried. "
    "To compare the methods, run both with --seeds 5 or so."
)
SAME_IMAGES = "Both were measured on the same 40 images, which are compared one by one."


def test_one_pair_is_no_comparison_of_methods(tmp_path: Path) -> None:
    assert notes(compared(tmp_path, Made(), Made())) == (ONE, SAME_IMAGES)


def test_one_pair_of_two_seeds_is_said(tmp_path: Path) -> None:
    said = notes(compared(tmp_path, Made(seed=2), Made(seed=5)))
    assert said[0] == ONE.replace("against one:", "against one (seed 2 in A and 5 in B):")


def test_the_seeds_that_count_and_those_that_do_not_are_named(tmp_path: Path) -> None:
    assert notes(of_seeds(tmp_path, [0, 1, 2, 3], [2, 3, 4])) == (
        "A and B are means over seeds 2, 3; the 95% intervals allow for other seeds and other images.",
        "Left out: seeds 0, 1 of A, which B lacks.",
        "Left out: seed 4 of B, which A lacks.",
        SAME_IMAGES,
    )


def test_only_one_common_seed_is_one_pair(tmp_path: Path) -> None:
    said = notes(of_seeds(tmp_path, [0, 1], [1, 2]))
    assert said[:3] == (ONE, "Left out: seed 0 of A, which B lacks.", "Left out: seed 2 of B, which A lacks.")


def test_no_common_seed_is_said_with_what_to_do(tmp_path: Path) -> None:
    assert notes(of_seeds(tmp_path, [0, 1], [2, 3])) == (
        "A has seeds 0, 1, B seeds 2, 3: none in common. Run both with the same seeds to compare them.",
    )


def test_other_and_unknown_images_are_said(tmp_path: Path) -> None:
    others = Made(images="others", student=right(10, 20), teacher=right(10, 20))
    assert notes(compared(tmp_path / "x", Made(), others))[1] == (
        "They were measured on different images (40 in A, 20 in B), so the intervals are wider than on the same."
    )
    assert notes(compared(tmp_path / "y", Made(), Made(images=None)))[1] == (
        "Not every run kept which of its images are right (40 in A, 40 in B), so the intervals are those of different "
        "images, which are wider."
    )


def test_what_was_not_compared_is_said_with_the_reason(tmp_path: Path) -> None:
    first, second = (Made(attacked={"fgsm": (right(9), right(8))}, eps=eps) for eps in ("0.1", "0.2"))
    said = notes(compared(tmp_path, first, second))
    assert said[2:] == (
        "teacher fgsm was not compared: eps 0.1 and 0.2.",
        "student fgsm was not compared: eps 0.1 and 0.2.",
    )


def test_other_numbers_of_questions_to_the_teacher_are_said(tmp_path: Path) -> None:
    said = notes(compared(tmp_path, Made(queries=1437), Made(queries=20)))
    assert said[2:] == ("The student asked the teacher about 1,437 images in A and 20 in B.",)


def test_reasons_for_distrust_are_said_once(tmp_path: Path) -> None:
    first = make_seeds(tmp_path / "a", [Made(seed=seed, flags=("few images", "the attack helps")) for seed in (0, 1)])
    second = make_seeds(
        tmp_path / "b", [Made(seed=seed, flags=("no image of cat", "few images")[1 - seed :]) for seed in (0, 1)]
    )
    assert notes(compare_folders(first, second))[2:] == (
        "Beware of A and B: few images.",
        "Beware of A: the attack helps.",
        "Beware of B: no image of cat.",
    )


def test_a_reason_for_distrust_is_called_what_the_documentation_calls_it(tmp_path: Path) -> None:
    flag = Flag(Kind.FEW_IMAGES, "only 40 images were measured")
    said = notes(compared(tmp_path, Made(flags=(flag,)), Made()))
    assert said[2:] == ("Beware of A (few images): only 40 images were measured.",)


def test_what_is_only_on_one_side_or_not_finished_is_named(tmp_path: Path) -> None:
    failed = attrs.evolve(row("w"), status="failed", reason="too little memory")
    first = make_matrix(tmp_path / "a", [(row("x"), Made()), (row("y"), Made()), (row("z"), Made()), (failed, None)])
    second = make_matrix(tmp_path / "b", [(row("x"), Made()), (row("v"), Made())])
    assert notes(compare_folders(first, second))[2:] == (
        "Only in A: `y`; `z`.",
        "Not finished in A: `w` (too little memory).",
        "Only in B: `v`.",
    )


def test_seeds_that_are_not_finished_are_named(tmp_path: Path) -> None:
    first = make_seeds(tmp_path / "a", [Made(seed=0), Made(seed=1)], asked=3)
    make_unfinished(first / "seed-2", 2)
    second = make_seeds(tmp_path / "b", [Made(seed=0), Made(seed=1)])
    assert notes(compare_folders(first, second))[-1] == ("Not finished in A: `seed-2` (it was stopped, or still runs).")


def test_what_holds_for_all_rows_is_said_once_and_else_with_their_names(tmp_path: Path) -> None:
    first = {"x": Made(queries=5), "y": Made(), "z": Made(queries=5)}
    said = notes(of_matrices(tmp_path, first, {"x": Made(), "y": Made(), "z": Made()}))
    assert said == (ONE, SAME_IMAGES, "`x`; `z`: The student asked the teacher about 5 images in A and 0 in B.")


def test_many_intervals_are_said_to_hold_some_by_chance(tmp_path: Path) -> None:
    first, second = ({name: Made(student=right(count)) for name in "abcdefghij"} for count in (30, 31))
    assert notes(of_matrices(tmp_path / "many", first, second))[-1] == (
        "Of 10 such intervals, about 1 would leave out zero by chance alone."
    )
    for side in (first, second):
        del side["a"]
    assert notes(of_matrices(tmp_path / "few", first, second)) == (ONE, SAME_IMAGES)


def test_items_are_gathered_with_the_rows_that_have_them() -> None:
    found = gathered([("x", ["a", "b", "a"]), ("y", ["c", "a"]), ("z", ["a", "c"])])
    assert found == [("a", None), ("b", ["x"]), ("c", ["y", "z"])]
    assert gathered([("x", ())]) == []

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest

from rcframe.errors import RequestError
from rcframe.findings.comparison import ComparedFigure, Comparison, compare_folders, compare_rows
from rcframe.findings.statistics import compare_images, compare_values
from tests.findings.folders_made import (
    IMAGES,
    Judged,
    Made,
    make_matrix,
    make_run,
    make_seeds,
    make_unfinished,
    right,
    row,
)

#: Right are the first 30 images, and others: as many, but not the same.
SHIFTED = np.roll(right(30), 5)


def compared(folder: Path, first: Made, second: Made) -> Comparison:
    """The comparison of two runs."""
    return compare_folders(make_run(folder / "first", first), make_run(folder / "second", second))


def figure(comparison: Comparison, name: str) -> ComparedFigure:
    (found,) = [figure for figure in comparison.figures if figure.name == name]
    return found


def several(folder: Path, counts: list[int], first_seed: int = 0) -> Path:
    """A run of several seeds whose student has so many images right."""
    return make_seeds(folder, [Made(seed=seed, student=right(n)) for seed, n in enumerate(counts, first_seed)])


# -- what came out ----------------------------------------------------------------------------------------------------


def test_the_difference_is_how_much_higher_b_is(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(student=right(10)), Made(student=right(32)))
    clean = figure(found, "student clean")
    assert (clean.first, clean.second) == (10 / IMAGES, 32 / IMAGES)
    assert clean.difference == compare_images(right(32)[None], right(10)[None])
    assert clean.difference.mean == pytest.approx(22 / IMAGES)
    assert clean.verdict == "beyond noise"


def test_swapping_the_folders_turns_differences_and_keeps_verdicts(tmp_path: Path) -> None:
    first, second = several(tmp_path / "a", [10, 14, 12]), several(tmp_path / "b", [30, 29, 33])
    there, back = compare_folders(first, second), compare_folders(second, first)
    for one, other in zip(there.figures, back.figures, strict=True):
        assert one.difference is not None
        assert other.difference is not None
        assert other.difference.mean == pytest.approx(-one.difference.mean)
        assert (other.difference.low, other.difference.high) == pytest.approx(
            (-one.difference.high, -one.difference.low)
        )
        assert (one.first, one.second, one.verdict) == (other.second, other.first, other.verdict)


@pytest.mark.parametrize(
    ("student", "verdict"),
    [(right(30), "equal"), (right(31), "within noise"), (right(5), "beyond noise"), (SHIFTED, "within noise")],
    ids=["equal", "close", "far", "other images right"],
)
def test_a_verdict_says_what_the_interval_says(tmp_path: Path, student: Judged, verdict: str) -> None:
    found = compared(tmp_path, Made(student=right(30)), Made(student=student))
    assert figure(found, "student clean").verdict == verdict
    assert figure(found, "teacher clean").verdict == "equal"


def test_sizes_differ_or_are_equal(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(parameters=50), Made(parameters=40))
    weight = figure(found, "student parameters")
    assert (weight.first, weight.second, weight.verdict) == (50, 40, "differs")
    assert weight.difference == compare_values([40], [50])
    assert figure(found, "teacher parameters").verdict == "equal"


def test_sizes_stand_below_what_was_measured(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(), Made())
    sorts = [figure.sort for figure in found.figures]
    assert sorts == ["accuracy"] * 2 + ["size"] * 6


def test_seeds_are_compared_in_pairs(tmp_path: Path) -> None:
    found = compare_folders(several(tmp_path / "a", [10, 20, 30]), several(tmp_path / "b", [11, 22, 33]))
    clean = figure(found, "student clean")
    mine, theirs = (np.stack([right(n) for n in counts]) for counts in ((10, 20, 30), (11, 22, 33)))
    assert clean.difference == compare_images(theirs, mine)
    assert clean.difference.seeds == 3
    assert (clean.first, clean.second) == pytest.approx((0.5, 0.55))


def test_seeds_that_only_one_side_has_count_nowhere(tmp_path: Path) -> None:
    found = compare_folders(several(tmp_path / "a", [40, 20, 22]), several(tmp_path / "b", [30, 33, 40], first_seed=1))
    clean = figure(found, "student clean")
    assert clean.first == pytest.approx((20 + 22) / 2 / IMAGES)
    assert clean.second == pytest.approx((30 + 33) / 2 / IMAGES)
    assert clean.difference is not None
    assert clean.difference.mean == pytest.approx((30 + 33 - 20 - 22) / 2 / IMAGES)
    assert [(run.report.seed, twin.report.seed) for run, twin in found.rows[0].pairs] == [(1, 1), (2, 2)]


def test_two_runs_of_different_seeds_are_compared_all_the_same(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(seed=0, student=right(10)), Made(seed=1, student=right(30)))
    clean = figure(found, "student clean")
    assert clean.difference == compare_images(right(30)[None], right(10)[None])
    assert [change.name for change in found.rows[0].changes] == ["seed"]


def test_several_seeds_without_a_common_one_are_not_compared(tmp_path: Path) -> None:
    found = compare_folders(several(tmp_path / "a", [10, 20]), several(tmp_path / "b", [30, 34], first_seed=2))
    clean = figure(found, "student clean")
    assert (clean.first, clean.second) == pytest.approx((15 / IMAGES, 32 / IMAGES))
    assert {figure.verdict for figure in found.figures} == {"not compared"}
    assert clean.difference is None
    assert clean.reason == "the two have no seed in common"


# -- what was measured otherwise --------------------------------------------------------------------------------------

BOTH = (right(20), right(10))


def test_figures_of_other_protocols_are_shown_but_not_compared(tmp_path: Path) -> None:
    first, second = (Made(attacked={"fgsm": BOTH}, certified={"box": BOTH}, eps=eps) for eps in ("0.1", "0.2"))
    found = compared(tmp_path, first, second)
    for name in ("teacher fgsm", "student fgsm", "teacher certified by box", "student certified by box"):
        robust = figure(found, name)
        assert (robust.verdict, robust.difference, robust.reason) == ("not compared", None, "eps 0.1 and 0.2")
        assert robust.first == robust.second
    assert figure(found, "student clean").verdict == "equal"


def test_figures_that_one_side_lacks_stand_alone(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(attacked={"fgsm": BOTH}), Made(attacked={"pgd": BOTH}))
    mine, theirs = figure(found, "student fgsm"), figure(found, "student pgd")
    assert (mine.verdict, mine.first, mine.second) == ("only in A", 10 / IMAGES, None)
    assert (theirs.verdict, theirs.first, theirs.second) == ("only in B", None, 10 / IMAGES)


def test_figures_that_were_only_spelled_otherwise_are_compared(tmp_path: Path) -> None:
    first = Made(attacked={"pgd": (right(20), right(8))}, options={"steps": 10})
    second = Made(attacked={"pgd:steps=10": (right(20), right(30))}, options={"steps": 10})
    robust = figure(compared(tmp_path, first, second), "student pgd")
    assert robust.difference == compare_images(right(30)[None], right(8)[None])
    assert (robust.first, robust.second, robust.verdict) == (8 / IMAGES, 30 / IMAGES, "beyond noise")


def test_equal_counts_of_unknown_images_are_equal_figures(tmp_path: Path) -> None:
    found = compared(tmp_path, Made(images=None), Made())
    assert {figure.verdict for figure in found.figures} == {"equal"}


def test_a_figure_that_some_seeds_lack_is_not_compared(tmp_path: Path) -> None:
    for name in ("a", "b"):
        make_run(tmp_path / name / "0", Made(attacked={"fgsm": BOTH}))
        make_run(tmp_path / name / "1", Made(seed=1))
    robust = figure(compare_folders(tmp_path / "a", tmp_path / "b"), "student fgsm")
    assert (robust.verdict, robust.reason, robust.first) == ("not compared", "some runs lack it", None)


# -- rows -------------------------------------------------------------------------------------------------------------


def test_rows_of_one_name_are_compared_and_others_are_named(tmp_path: Path) -> None:
    first = [(row(name, seed), Made(seed=seed, student=right(10))) for name in ("x", "y", "z") for seed in (0, 1)]
    second = [(row(name, seed), Made(seed=seed, student=right(30))) for name in ("z", "x", "w") for seed in (0, 1)]
    found = compare_folders(make_matrix(tmp_path / "a", first), make_matrix(tmp_path / "b", second))
    assert [(row.name, row.first.name, row.second.name) for row in found.rows] == [("x", "x", "x"), ("z", "z", "z")]
    assert found.alone == (("y",), ("w",))
    assert [len(row.pairs) for row in found.rows] == [2, 2]
    assert all(row.figures[1].verdict == "beyond noise" for row in found.rows)


def test_one_and_one_are_compared_whatever_their_names(tmp_path: Path) -> None:
    matrix = make_matrix(tmp_path / "m", [(row("x"), Made())])
    found = compare_folders(matrix, make_run(tmp_path / "one"))
    assert [row.name for row in found.rows] == ["x / one"]
    assert found.alone == ((), ())


def test_folders_without_equal_names_are_refused(tmp_path: Path) -> None:
    first = make_matrix(tmp_path / "a", [(row(name), Made()) for name in "pqrstuv"])
    second = make_matrix(tmp_path / "b", [(row(name), Made()) for name in "xy"])
    with pytest.raises(RequestError) as refused:
        compare_folders(first, second)
    assert str(refused.value) == (
        f"No run of `{first}` (`p`; `q`; `r`; `s`; `t`; ...) has the name of one of `{second}` (`x`; `y`). Name the "
        f"folders of two runs, two matrices with equal rows, or a row of each with --row."
    )


def test_a_folder_stays_the_same_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path / "one")
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    monkeypatch.chdir(folder)
    assert compare_folders(Path(), tmp_path / "link").same_folder
    assert not compare_folders(folder, make_run(tmp_path / "two")).same_folder


# -- two rows that were picked ----------------------------------------------------------------------------------------

PLAIN, KD = "plain", "kd:temperature=4,alpha=0.9"


@pytest.fixture
def matrix(tmp_path: Path) -> Path:
    """Two rows that share seeds 1 and 2, one with a single seed, and one that failed."""
    students = {(PLAIN, 0): 1, (PLAIN, 1): 10, (PLAIN, 2): 12, (KD, 1): 30, (KD, 2): 36, (KD, 3): 40, ("late", 1): 5}
    rows = [(row(name, seed), Made(seed=seed, student=right(n))) for (name, seed), n in students.items()]
    failed = [attrs.evolve(row(name, 4), status="failed", reason="too little memory") for name in (KD, "nasty")]
    return make_matrix(tmp_path / "matrix", [*rows, *((record, None) for record in failed)])


def test_two_rows_of_a_matrix_are_compared_over_the_seeds_that_both_have(matrix: Path) -> None:
    found = compare_rows(matrix, matrix, (PLAIN, KD))
    clean = figure(found, "student clean")
    mine, theirs = (np.stack([right(n) for n in counts]) for counts in ((10, 12), (30, 36)))
    assert clean.difference == compare_images(theirs, mine)
    assert (clean.first, clean.second) == pytest.approx((11 / IMAGES, 33 / IMAGES))


def test_of_picked_rows_nothing_else_is_said(matrix: Path) -> None:
    found = compare_rows(matrix, matrix, (PLAIN, KD))
    assert [row.name for row in found.rows] == [f"{PLAIN} / {KD}"]
    assert [[run.name for run in side.unfinished] for side in found.found] == [[], [KD]]
    assert (found.alone, found.same_folder) == (((), ()), False)


def test_rows_of_two_matrices_are_picked_from_theirs(matrix: Path, tmp_path: Path) -> None:
    other = make_matrix(tmp_path / "other", [(row(PLAIN, 1), Made(seed=1, student=right(7)))])
    for sides, picked, counts in (
        ((matrix, other), (KD, PLAIN), (30, 7)),
        ((other, matrix), (PLAIN, KD), (7, 30)),
        ((matrix, other), (PLAIN, PLAIN), (10, 7)),
    ):
        clean = figure(compare_rows(*sides, picked), "student clean")
        assert (clean.first, clean.second) == (counts[0] / IMAGES, counts[1] / IMAGES)


@pytest.mark.parametrize("picked", [(PLAIN, "kd:temperature=5,alpha=0.9"), ("kd:temperature=5,alpha=0.9", PLAIN)])
def test_an_unknown_row_is_refused_with_the_nearest_and_all(matrix: Path, picked: tuple[str, str]) -> None:
    with pytest.raises(RequestError) as refused:
        compare_rows(matrix, matrix, picked)
    assert str(refused.value) == (
        f"`{matrix}` has no row `kd:temperature=5,alpha=0.9`. Did you mean `{KD}`? Its rows: `plain`; `{KD}`; `late`."
    )


def test_a_row_of_which_nothing_is_finished_is_refused_with_the_reason(matrix: Path) -> None:
    with pytest.raises(RequestError) as refused:
        compare_rows(matrix, matrix, (PLAIN, "nasty"))
    assert str(refused.value) == f"No run of the row `nasty` of `{matrix}` is finished: too little memory."


def test_a_row_is_not_compared_with_itself(matrix: Path) -> None:
    with pytest.raises(RequestError, match=r"^A row cannot be compared with itself: name two rows of `.*`, not `late`"):
        compare_rows(matrix, matrix, ("late", "late"))


# -- what cannot be compared ------------------------------------------------------------------------------------------


def test_a_run_that_is_not_finished_is_refused_on_either_side(tmp_path: Path) -> None:
    done, stopped = make_run(tmp_path / "done"), make_unfinished(tmp_path / "stopped")
    for sides in ((done, stopped), (stopped, done)):
        with pytest.raises(RequestError) as refused:
            compare_folders(*sides)
        assert str(refused.value) == (
            f"The run in `{stopped}` is not finished: it was stopped, or still runs. Once it is (rcframe run --resume "
            f"{stopped}), compare."
        )


def test_a_matrix_of_which_nothing_is_finished_is_refused(tmp_path: Path) -> None:
    rows = [(attrs.evolve(row(name), status="failed", reason="too little memory"), None) for name in ("x", "y")]
    matrix = make_matrix(tmp_path / "m", rows)
    with pytest.raises(RequestError, match=r"None of the 2 runs in `.*m` is finished \(`x`: too little memory\)\. Let"):
        compare_folders(matrix, make_run(tmp_path / "done"))


def test_an_empty_matrix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"m` is a matrix without runs, so there is nothing to compare\."):
        compare_folders(make_matrix(tmp_path / "m", []), make_run(tmp_path / "done"))


def test_what_is_finished_of_a_run_is_compared(tmp_path: Path) -> None:
    first = make_seeds(tmp_path / "a", [Made(seed=0), Made(seed=1)], asked=3)
    found = compare_folders(first, several(tmp_path / "b", [30, 31, 32]))
    assert len(found.rows[0].pairs) == 2
    assert [run.name for run in found.found[0].unfinished] == ["seed-2"]

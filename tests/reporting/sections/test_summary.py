from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch

from rcframe.findings.folders import collect
from rcframe.reporting.sections.summary import section, sentences
from tests.findings.folders_made import IMAGES, Made, make_matrix, make_run, right, row
from tests.findings.outputs_made import answered
from tests.reporting.runs_made import collected, curved, make_reproduction, measured, student


def test_one_run_is_told_with_its_most_important_numbers(tmp_path: Path) -> None:
    make_run(tmp_path / "run", measured(30))
    told = " ".join(sentences(collect([tmp_path])))
    assert "75.0 [59.8, 85.8]% of 40 clean test images right (seed 0)" in told
    assert "the teacher gets 90.0 [76.9, 96.0]%" in told
    assert "under `pgd:steps=5` at eps 0.1 the student keeps 50.0 [35.2, 64.8]%" in told
    assert told.endswith("No figure carries a warning.")


def test_of_several_attacks_the_worst_case_is_told(tmp_path: Path) -> None:
    told = " ".join(sentences(collected({"a": curved()}, tmp_path)))
    # 12 of 40 images withstand both attacks.
    said = "under the worst of 2 attacks, image by image, at eps 51/255 the student keeps 30.0 [18.1, 45.4]%"
    assert said in told


def test_several_are_told_with_what_differs_and_their_extremes(tmp_path: Path) -> None:
    runs = {str(count): Made(student=right(count), settings=student(temperature=count)) for count in (20, 36, 30)}
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert told.startswith("3 configurations that differ in student were compared on digits, in 3 runs.")
    assert "highest for `kd:temperature=36`, 90.0 [76.9, 96.0]%" in told
    assert "lowest for `kd:temperature=20`, 50.0 [35.2, 64.8]%" in told


def test_what_noise_does_not_tell_from_the_highest_stands_beside_it(tmp_path: Path) -> None:
    """40 images: 36 and 34 right may be chance, 36 and 20 are not."""
    runs = {str(count): Made(student=right(count), settings=student(temperature=count)) for count in (20, 36, 34)}
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert (
        "highest for `kd:temperature=36`, 90.0 [76.9, 96.0]% (not told apart from `kd:temperature=34` by 40 images), "
        "and lowest for `kd:temperature=20`, 50.0 [35.2, 64.8]%."
    ) in told


def test_what_noise_does_not_tell_from_the_lowest_stands_beside_it(tmp_path: Path) -> None:
    """Of 40 images 20 and 22 right may be chance, 36 and 22 are not."""
    runs = {str(count): Made(student=right(count), settings=student(temperature=count)) for count in (20, 36, 22, 23)}
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert (
        "highest for `kd:temperature=36`, 90.0 [76.9, 96.0]%, and lowest for `kd:temperature=20`, 50.0 [35.2, 64.8]% "
        "(not told apart from `kd:temperature=22`, `kd:temperature=23` by 40 images)."
    ) in told


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ((1, 1), "With one seed each, the clean accuracy of the student is highest"),
        ((1, 3), "With one seed for some of them, the clean accuracy of the student is highest"),
        ((3, 3), ". The clean accuracy of the student is highest"),
    ],
)
def test_a_single_seed_is_said_where_nothing_is_tied_too(tmp_path: Path, seeds: tuple[int, int], said: str) -> None:
    runs = {
        f"{count}-{seed}": Made(student=right(count), seed=seed, settings=student(temperature=count))
        for count, several in zip((10, 36), seeds, strict=True)
        for seed in range(several)
    }
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert said in told
    assert "not told apart" not in told


def test_ties_over_several_seeds_say_how_many(tmp_path: Path) -> None:
    runs = {
        f"{count}-{seed}": Made(student=right(count + seed), seed=seed, settings=student(temperature=count))
        for count in (30, 31)
        for seed in (0, 1)
    }
    assert "not told apart by 40 images and 2 seeds." in " ".join(sentences(collected(runs, tmp_path)))


def test_where_nothing_is_told_apart_nothing_is_highest(tmp_path: Path) -> None:
    runs = {str(count): Made(student=right(count), settings=student(temperature=count)) for count in (35, 36, 34)}
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert (
        "lies between 85.0 [70.9, 92.9]% (`kd:temperature=34`) and 90.0 [76.9, 96.0]% (`kd:temperature=36`), which are "
        "not told apart by 40 images."
    ) in told
    assert "highest" not in told


@pytest.mark.parametrize(
    ("images", "said"), [("the images", "highest for `kd:a=36`"), ("more images", "not told apart by 40 images")]
)
def test_images_are_held_against_each_other_one_by_one(tmp_path: Path, images: str, said: str) -> None:
    """6 images more of the same 40 are beyond noise, though the intervals of both overlap; of others they are not."""
    lower = Made(student=right(30), settings=student(a=30), images=images)
    higher = Made(student=right(36), settings=student(a=36))
    assert said in " ".join(sentences(collected({"a": lower, "b": higher}, tmp_path)))


def test_without_a_common_seed_intervals_must_lie_apart(tmp_path: Path) -> None:
    def made(count: int, seed: int) -> Made:
        return Made(student=right(count), seed=seed, settings=student(a=count))

    apart = " ".join(sentences(collected({"a": made(36, 0), "b": made(10, 1)}, tmp_path / "apart")))
    near = " ".join(sentences(collected({"a": made(36, 0), "b": made(30, 1)}, tmp_path / "near")))
    assert "highest for `kd:a=36`" in apart
    assert "not told apart by 40 images." in near


def test_of_many_that_are_not_told_apart_the_first_are_named(tmp_path: Path) -> None:
    runs = {str(n): Made(student=right(n), settings=student(a=n)) for n in (5, 32, 33, 34, 35, 36)}
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert "(not told apart from `kd:a=35`, `kd:a=34`, `kd:a=33` and 1 more by" in told


def test_agreement_on_one_class_is_no_imitation(tmp_path: Path) -> None:
    outputs = torch.tensor([4.0, 0.0]).repeat(IMAGES, 1)
    made = answered(Made(), outputs, outputs, labels=torch.arange(IMAGES) % 2)
    told = " ".join(sentences(collected({"a": made}, tmp_path)))
    assert "names the teacher's class for 100.0 [91.2, 100.0]% (as often as one that always names one class)" in told


def test_warnings_are_counted_where_they_are_most(tmp_path: Path) -> None:
    runs = {
        "a": Made(flags=("one",), settings=student(temperature=1)),
        "b": Made(flags=("one", "two"), settings=student(temperature=2)),
        "c": Made(settings=student(temperature=3)),
    }
    told = " ".join(sentences(collected(runs, tmp_path)))
    assert "2 of 3 configurations carry warnings, at most 2 (`kd:temperature=2`)" in told


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (((), ("one",), ()), "1 of 3 configurations carries 1 warning (`kd:temperature=1`): see the end of this page."),
        (((), ("one", "two"), ()), "1 of 3 configurations carries 2 warnings (`kd:temperature=1`): see the end"),
        ((("one",), ("one",), ()), "2 of 3 configurations carry a warning each: see the end of this page."),
    ],
)
def test_few_warnings_are_told_in_good_grammar(tmp_path: Path, flags: tuple[tuple[str, ...], ...], said: str) -> None:
    runs = {str(heat): Made(flags=found, settings=student(temperature=heat)) for heat, found in enumerate(flags)}
    assert said in " ".join(sentences(collected(runs, tmp_path)))


def test_failed_runs_and_verdicts_are_told(tmp_path: Path) -> None:
    told = " ".join(sentences(collect([make_reproduction(tmp_path / "claims")])))
    assert "Of 3 claims of made/table at small scale: 1 holds, 1 does not hold, 1 undecided." in told
    assert "1 run did not finish" in told


def test_the_table_has_failed_runs_with_their_reason(tmp_path: Path) -> None:
    failed = attrs.evolve(row("b"), status="failed", reason="no memory")
    (table,) = section(collect([make_matrix(tmp_path / "m", [(row("a"), Made()), (failed, None)])])).tables
    assert [cells[0] for cells in table.rows] == ["a", "b"]
    assert "no memory" in table.rows[1][-1]

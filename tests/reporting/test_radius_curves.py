from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from rcframe.findings.folders import Collection
from rcframe.reporting.chart import COLOURS
from rcframe.reporting.radius_curves import exhibits, radius_curves, sayings
from rcframe.reporting.section import Exhibit
from tests.findings.folders_made import Made, falls, right
from tests.reporting.runs_made import collected, column, student

RADII = ("0", "0.1", "51/255")
TEACHER, STUDENT = falls(4, 0, 6, 10, radii=RADII), falls(10, 0, 2, 8, radii=RADII)
PGD = {"pgd": (TEACHER, STUDENT)}


def curved(**attacks: int) -> Made:
    """A run whose attacks break so many more images of the student at the first radius, and 5 of the teacher."""
    both = {spec: (falls(4, 0, 5, radii=RADII), falls(10, 0, more, radii=RADII)) for spec, more in attacks.items()}
    return Made(radii=RADII, breaking=both)


def drawn(found: Collection) -> dict[str, Exhibit]:
    return {exhibit.name: exhibit for exhibit in exhibits(radius_curves(found.groups))}


def test_teacher_and_student_have_a_figure_each_over_the_same_radii(tmp_path: Path) -> None:
    found = drawn(collected({"a": Made(radii=RADII, breaking=PGD)}, tmp_path))
    assert [(name, exhibit.caption) for name, exhibit in found.items()] == [
        ("curve-1-teacher", "Accuracy of the teacher against eps."),
        ("curve-1-student", "Accuracy of the student against eps."),
    ]
    for name, accuracies in (("teacher", ["90", "75", "50"]), ("student", ["75", "70", "50"])):
        data = found[f"curve-1-{name}"].data
        assert column(data, data.columns[0]) == ["0", "0.1", "0.2"]
        assert column(data, "pgd") == accuracies
    # Wilson's interval of 20 of 40 reaches from 35.2 to 64.8.
    data = found["curve-1-student"].data
    assert [column(data, f"pgd: {end}")[-1] for end in ("low", "high")] == ["35.2", "64.8"]


def test_curves_are_means_over_seeds(tmp_path: Path) -> None:
    runs = {str(seed): attrs.evolve(curved(pgd=more), seed=seed) for seed, more in ((0, 2), (1, 8))}
    data = drawn(collected(runs, tmp_path))["curve-1-student"].data
    assert column(data, "pgd") == ["75", "62.5", "62.5"]


def test_the_worst_case_lies_on_top_in_ink_and_is_the_only_thick_line(tmp_path: Path) -> None:
    found = drawn(collected({"a": curved(pgd=2, mim=5)}, tmp_path))["curve-1-student"]
    assert [key.name for key in found.legend] == ["pgd", "mim", "worst case"]
    assert [f"var(--line-{COLOURS - 1})" in key.swatch for key in found.legend] == [False, False, True]
    assert [key.swatch.count("stroke-width: 3.2") for key in found.legend] == [0, 0, 1]


def test_no_attack_has_the_style_of_another(tmp_path: Path) -> None:
    many = {f"attack{number}": number for number in range(9)}
    legend = drawn(collected({"a": curved(**many)}, tmp_path))["curve-1-student"].legend
    assert len({key.swatch for key in legend}) == len(legend) == 10


def test_several_configurations_are_drawn_together_attack_by_attack_with_a_shared_teacher_once(tmp_path: Path) -> None:
    runs = {"a": curved(pgd=2, mim=5), "b": attrs.evolve(curved(pgd=3, mim=6), settings=student(temperature=2))}
    found = drawn(collected(runs, tmp_path))
    assert [name for name in found if name.startswith("curves")] == ["curves-1", "curves-2", "curves-3"]
    assert [found[f"curves-{number}"].caption.split(", ")[1].partition(":")[0] for number in (1, 2, 3)] == [
        "worst case",
        "pgd",
        "mim",
    ]
    names = [key.name for key in found["curves-2"].legend]
    assert names[-1] == "teacher"
    assert len(names) == 3
    assert column(found["curves-2"].data, names[1]) == ["75", "67.5", "67.5"]
    assert [name for name in found if name.endswith("teacher")] == ["curve-1-teacher"]
    assert [name for name in found if name.endswith("student")] == ["curve-1-student", "curve-2-student"]


def test_many_configurations_are_thinned_out_and_that_is_said(tmp_path: Path) -> None:
    runs = {
        str(heat): attrs.evolve(curved(pgd=heat), settings=student(temperature=heat), teacher=right(30 + heat))
        for heat in range(1, 9)
    }
    curves = radius_curves(collected(runs, tmp_path).groups)
    assert any("The first 3 of 8 configurations" in said for said in sayings(curves))
    together, *_ = exhibits(curves)
    assert "the first 7 of 9 lines" in together.caption
    assert len(together.legend) == 7


@pytest.mark.parametrize("made", [Made(), Made(attacked={"pgd": (right(3), right(4))})])
def test_runs_without_a_curve_have_none(tmp_path: Path, made: Made) -> None:
    curves = radius_curves(collected({"a": made}, tmp_path).groups)
    assert curves == []
    assert [*sayings(curves), *exhibits(curves)] == []

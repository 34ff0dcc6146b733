from __future__ import annotations

from pathlib import Path

import pytest

from rcframe.reporting.heats import otherwise_softened
from rcframe.reporting.networks import networks
from tests.findings.folders_made import Made
from tests.findings.outputs_made import answered, logits
from tests.reporting.runs_made import collected

DIFFER = "since the parts of a run are set to several."


def said(folder: Path, teacher: float | None, students: list[float | None], heat: float) -> list[str]:
    """What is said of the networks of one run, of which None has no temperature."""
    settings: dict[str, object] = {
        "teacher": {"name": "plain"} if teacher is None else {"name": "plain", "temperature": teacher},
        "student": [{"name": "kd"} if own is None else {"name": "kd", "temperature": own} for own in students],
    }
    made = answered(Made(settings=settings), logits(1), logits(2), temperature=heat)
    return list(otherwise_softened(networks(collected({"a": made}, folder).groups), heat))


@pytest.mark.parametrize(
    ("teacher", "students", "heat"),
    [(None, [None], 4.0), (None, [8.0], 8.0), (8.0, [8.0], 8.0), (None, [2.0, None], 2.0)],
)
def test_nothing_is_said_where_a_network_is_softened_at_its_own_temperature(
    tmp_path: Path, teacher: float | None, students: list[float | None], heat: float
) -> None:
    assert said(tmp_path, teacher, students, heat) == []


@pytest.mark.parametrize("heat", [20.0, 4.0])
def test_a_student_without_a_temperature_has_its_teachers(tmp_path: Path, heat: float) -> None:
    assert said(tmp_path, heat, [None], heat) == [f"`student`: softened at {heat:g}, the temperature of its teacher."]


def test_the_temperature_of_a_network_behind_a_guard_is_its_teachers_too(tmp_path: Path) -> None:
    """The settings of a guard hold its network in one text; only the temperature of the outputs tells of it."""
    assert said(tmp_path, None, [None], 9.0) == ["`student`: softened at 9, the temperature of its teacher."]


def test_networks_that_differ_are_said_to(tmp_path: Path) -> None:
    assert said(tmp_path / "both", 20.0, [8.0], 4.0) == [
        f"`teacher`: set to temperature 20, but softened at 4, {DIFFER}",
        f"`student`: set to temperature 8, but softened at 4, {DIFFER}",
    ]
    assert said(tmp_path / "phases", None, [2.0, 3.0], 4.0) == [
        f"`student`: set to temperature 2, 3, but softened at 4, {DIFFER}"
    ]
    assert said(tmp_path / "one of them", None, [4.0, 8.0], 4.0) == [
        f"`student`: set to temperature 4, 8, but softened at 4, {DIFFER}"
    ]

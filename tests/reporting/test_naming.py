from __future__ import annotations

from pathlib import Path

from rcframe.reporting.naming import name_of
from tests.findings.folders_made import Made
from tests.reporting.runs_made import collected


def typed(teacher: str, student: str) -> Made:
    words = {"teacher": [teacher], "student": [student]}
    return Made(settings={"teacher": {"name": teacher}, "student": [{"name": student}], "typed": words})


def test_alone_a_network_has_the_name_of_its_role(tmp_path: Path) -> None:
    groups = collected({"a": typed("plain", "kd")}, tmp_path).groups
    assert [name_of(groups[0], groups, role) for role in ("teacher", "student")] == ["teacher", "student"]


def test_among_others_networks_are_named_as_they_were_asked_for(tmp_path: Path) -> None:
    groups = collected({"a": typed("plain", "kd"), "b": typed("sly", "logits")}, tmp_path).groups
    assert [name_of(group, groups, "teacher") for group in groups] == ["teacher plain", "teacher sly"]
    assert [name_of(group, groups, "student") for group in groups] == ["student kd", "student logits"]


def test_students_that_were_asked_for_in_one_way_are_named_by_their_groups(tmp_path: Path) -> None:
    groups = collected({"a": typed("plain", "kd"), "b": typed("sly", "kd")}, tmp_path).groups
    assert [name_of(group, groups, "student") for group in groups] == ["student: plain", "student: sly"]

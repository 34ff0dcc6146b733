from __future__ import annotations

from pathlib import Path

from rcframe.findings.folders import collect
from rcframe.reporting.families import families, title_of, varied
from tests.findings.folders_made import Made, make_run
from tests.reporting.runs_made import collected, student


def heat(value: object, **settings: object) -> Made:
    return Made(settings={**student(temperature=value), **settings})


def test_groups_that_differ_in_one_setting_only_are_a_family_in_the_order_of_its_values(tmp_path: Path) -> None:
    found = collected({"a": heat(10), "b": heat(2), "c": heat(4)}, tmp_path)
    (family,) = families(found.groups, "student.temperature")
    assert [member.value for member in family.members] == [2, 4, 10]
    assert [member.group.first.path.name for member in family.members] == ["b", "c", "a"]
    assert family.name == ""
    assert varied(found.groups) == ["student.temperature"]


def test_whoever_differs_in_something_else_too_is_no_member(tmp_path: Path) -> None:
    runs = {"a": heat(1), "b": heat(2), "other": heat(3, precision="bf16")}
    (family,) = families(collected(runs, tmp_path).groups, "student.temperature")
    assert [member.value for member in family.members] == [1, 2]


def test_families_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    def of(teacher: str, value: int) -> Made:
        settings = student(temperature=value)
        spec = {"typed": {"teacher": [f"{teacher}:epochs=3"], "student": [f"kd:temperature={value}"]}}
        return Made(settings={**settings, "teacher": {"name": teacher, "epochs": 3}, **spec})

    runs = {f"{teacher}{value}": of(teacher, value) for teacher in ("plain", "sly") for value in (1, 2)}
    found = families(collected(runs, tmp_path).groups, "student.temperature")
    assert [family.name for family in found] == ["taught by plain:epochs=3", "taught by sly:epochs=3"]
    assert [len(family.members) for family in found] == [2, 2]


def test_families_that_differ_in_plain_settings_name_those(tmp_path: Path) -> None:
    runs = {f"{p}{value}": heat(value, precision=p) for p in ("fp32", "bf16") for value in (1, 2)}
    found = families(collected(runs, tmp_path).groups, "student.temperature")
    assert sorted(family.name for family in found) == ["precision bf16", "precision fp32"]


def test_seeds_and_machines_vary_nothing(tmp_path: Path) -> None:
    make_run(tmp_path / "a", Made(seed=0))
    make_run(tmp_path / "b", Made(seed=1, settings={"device": "cuda", "threads": 4}))
    assert varied(collect([tmp_path]).groups) == []


def test_settings_with_words_are_not_drawn_over_an_axis(tmp_path: Path) -> None:
    assert varied(collected({"a": Made(settings=student(optimizer="sgd")), "b": heat(1)}, tmp_path).groups) == []
    found = collected(
        {"sgd": Made(settings=student(lr="none")), "adam": Made(settings=student(lr="0.1"))}, tmp_path / "x"
    )
    assert families(found.groups, "student.lr") == []


def test_fractions_are_numbers(tmp_path: Path) -> None:
    found = collected({"a": Made(eps="8/255"), "b": Made(eps="0.1")}, tmp_path)
    (family,) = families(found.groups, "eps")
    assert [round(member.value, 4) for member in family.members] == [0.0314, 0.1]


def test_titles_are_words() -> None:
    assert title_of("student.batch_size") == "batch size of the student"
    assert title_of("eval_size") == "eval size"

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from rcframe.findings.changes import Change, Effect, changes
from rcframe.findings.folders import FoundRun, collect
from rcframe.findings.settings import MACHINE
from rcframe.session.layout import RunFiles
from rcframe.session.worklog import WorkLog
from rcframe.storage.identity import Identity
from tests.findings.folders_made import Made, make_run

Settings = Mapping[str, object]
Found = Callable[[Made], FoundRun]


@pytest.fixture
def found(tmp_path: Path) -> Found:
    def make(made: Made) -> FoundRun:
        folder = make_run(tmp_path / str(len(list(tmp_path.iterdir()))), made)
        (run,) = collect([folder]).runs
        return run

    return make


def told(first: FoundRun, second: FoundRun) -> list[tuple[str, str, str]]:
    return [(change.name, change.first, change.second) for change in changes(first, second)]


def part(setting: str, *specs: str, **options: object) -> Settings:
    """Settings with some parts, of which all have the same options."""
    tables = [{"name": spec.partition(":")[0], **options} for spec in specs]
    return {setting: tables, "typed": {setting: list(specs)}}


def test_equal_runs_have_no_changes(found: Found) -> None:
    assert changes(found(Made()), found(Made())) == ()


def test_a_change_says_both_values(found: Found) -> None:
    first, second = found(Made(eps="0.1")), found(Made(eps="8/255"))
    assert changes(first, second) == (Change("eps", "0.1", "8/255", "any"),)
    assert changes(second, first) == (Change("eps", "8/255", "0.1", "any"),)


def test_options_of_one_method_are_told_one_by_one(found: Found) -> None:
    first = found(Made(settings=part("student", "kd", alpha=0.9, epochs=3, layers=[])))
    second = found(Made(settings=part("student", "kd:alpha=0.5", alpha=0.5, epochs=3, layers=["a"])))
    assert told(first, second) == [("student.alpha", "0.9", "0.5"), ("student.layers", "(empty)", "a")]


def test_options_of_one_among_several_are_told_one_by_one(found: Found) -> None:
    first = found(Made(settings={"attack": [{"name": "a", "steps": 1}, {"name": "b", "steps": 1}]}))
    second = found(Made(settings={"attack": [{"name": "a", "steps": 1}, {"name": "b", "steps": 2}]}))
    assert told(first, second) == [("attack 2.steps", "1", "2")]


def test_an_option_that_only_one_version_has_is_told(found: Found) -> None:
    first = found(Made(settings=part("student", "kd", alpha=0.9)))
    second = found(Made(settings=part("student", "kd", alpha=0.9, fresh=True)))
    assert told(first, second) == [("student.fresh", "-", "true")]


@pytest.mark.parametrize(
    ("setting", "first", "second", "words"),
    [
        ("student", ["kd:epochs=2"], ["fit:rate=3"], ("kd:epochs=2", "fit:rate=3")),
        ("student", ["kd"], ["kd", "fit"], ("kd", "kd then fit")),
        ("attack", ["one"], ["one", "two:steps=5"], ("one", "one, two:steps=5")),
        ("pruner", ["a", "b"], ["b", "a"], ("a then b", "b then a")),
    ],
)
def test_other_methods_are_told_by_their_spec_strings_without_their_options(
    found: Found, setting: str, first: list[str], second: list[str], words: tuple[str, str]
) -> None:
    mine, theirs = (found(Made(settings=part(setting, *specs, rate=1))) for specs in (first, second))
    assert told(mine, theirs) == [(setting, *words)]


def test_a_part_that_only_one_has_is_told(found: Found) -> None:
    with_neuron = {"neuron": {"name": "lif", "steps": 4}, "typed": {"neuron": ["lif"]}}
    assert told(found(Made()), found(Made(settings=with_neuron))) == [("neuron", "-", "lif")]


def test_methods_without_spec_strings_are_told_by_their_names(found: Found) -> None:
    first, second = ({"student": [{"name": name} for name in names], "typed": None} for names in (["a"], ["a", "b"]))
    assert told(found(Made(settings=first)), found(Made(settings=second))) == [("student", "a", "a, b")]


@pytest.mark.parametrize("setting", MACHINE)
def test_settings_of_the_machine_change_no_results_but_by_rounding(found: Found, setting: str) -> None:
    first, second = found(Made(settings={setting: 2})), found(Made(settings={setting: 3}))
    effect: Effect = "rounding" if setting in ("device", "threads") else "none"
    assert changes(first, second) == (Change(setting, "2", "3", effect),)


@pytest.mark.parametrize("setting", ["precision", "deterministic", "eval_size", "seed", "access", "budget"])
def test_other_settings_can_change_any_result(found: Found, setting: str) -> None:
    first, second = found(Made(settings={setting: 2})), found(Made(settings={setting: 3}))
    assert changes(first, second) == (Change(setting, "2", "3", "any"),)


def test_where_a_run_ran_changes_results_by_rounding(found: Found) -> None:
    first, second = (
        found(Made(settings={"environment": {"platform": name, "processes": count, "device": "cpu"}}))
        for name, count in (("Linux", 1), ("Darwin", 2))
    )
    assert changes(first, second) == (
        Change("processes", "1", "2", "rounding"),
        Change("platform", "Linux", "Darwin", "rounding"),
    )


def test_versions_of_what_both_used_are_told(found: Found) -> None:
    first = found(Made(versions={"torch": "2.6", "numpy": "2.0", "only-a": "1"}))
    second = found(Made(versions={"torch": "2.7", "numpy": "2.0", "only-b": "1"}))
    assert changes(first, second) == (Change("version of torch", "2.6", "2.7", "any"),)


def logged(run: FoundRun, **digests: str) -> FoundRun:
    """The run with work that was determined by the code of some packages."""
    log = WorkLog(RunFiles(run.path).worklog)
    for number, (package, digest) in enumerate(digests.items()):
        parts = {"name": f"work {number}", f"code of {package}": digest, "seed": "0"}
        log.note(Identity(parts), "computed", 1.0)
    return run


def test_other_code_of_one_version_is_told(found: Found) -> None:
    first = logged(found(Made()), rcframe="a" * 16, acme="b" * 16, only_a="c" * 16)
    second = logged(found(Made()), rcframe="d" * 16, acme="b" * 16, only_b="e" * 16)
    assert changes(first, second) == (Change("code of rcframe", "a" * 8, "d" * 8, "any"),)


def test_other_code_of_another_version_goes_without_saying(found: Found) -> None:
    first = logged(found(Made(versions={"acme-kd": "1.0"})), acme_kd="a" * 16)
    second = logged(found(Made(versions={"acme-kd": "1.1"})), acme_kd="b" * 16)
    assert changes(first, second) == (Change("version of acme-kd", "1.0", "1.1", "any"),)

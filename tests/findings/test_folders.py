from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import attrs
import pytest
from hypothesis import given, strategies as st

from rcframe.errors import RequestError
from rcframe.findings.folders import Collection, Unfinished, collect
from rcframe.findings.records import REPRODUCTION, ReproductionRecord, write_reproduction
from rcframe.session.evidence import About
from rcframe.session.layout import RunFiles
from tests.findings.folders_made import Made, make_matrix, make_run, make_seeds, make_unfinished, right, row


def student(name: str, **options: object) -> Mapping[str, object]:
    """Settings of a run with another student."""
    typed = ":".join([name, *([",".join(f"{key}={value}" for key, value in options.items())] if options else [])])
    return {"student": [{"name": name, **options}], "typed": {"student": [typed]}}


def names(found: Collection) -> list[str]:
    return [group.name for group in found.groups]


def seeds(found: Collection) -> dict[str, tuple[int, ...]]:
    return {group.name: group.seeds for group in found.groups}


# -- what is found ----------------------------------------------------------------------------------------------------


def test_a_run_is_read_with_all_that_it_kept(tmp_path: Path) -> None:
    made = Made(seed=3, student=right(7), images="these")
    folder = make_run(tmp_path / "first", made)
    RunFiles(folder).metrics.write_text('{"stage": "teacher/train", "epoch": 1, "seconds": 0.5, "loss": 2.5}\n')
    (run,) = collect([folder]).runs
    assert run.path == folder
    assert run.report == made.report
    assert run.settings["student"] == "kd"
    assert run.settings["student.alpha"] == "0.9"
    assert run.typed == {"data": "digits", "teacher": "plain:epochs=3", "student": "kd:epochs=3"}
    assert [line.metrics["loss"] for line in run.curves] == [2.5]
    assert run.evidence is not None
    assert run.evidence.images == "these"
    assert run.evidence.right[About("student", "clean")].sum() == 7


def test_what_a_run_did_not_keep_is_missing(tmp_path: Path) -> None:
    (run,) = collect([make_run(tmp_path / "first", Made(images=None))]).runs
    assert run.evidence is None
    assert run.curves == []


def test_a_run_of_several_seeds_is_one_group_in_the_order_of_its_seeds(tmp_path: Path) -> None:
    folder = make_seeds(tmp_path / "first", [Made(seed=seed) for seed in (8, 9, 10)])
    found = collect([folder])
    assert seeds(found) == {"first": (8, 9, 10)}
    assert found.groups[0].first.report.seed == 8
    assert found.groups[0].labels == {}
    assert not found.unfinished


def test_a_matrix_is_one_group_for_each_name(tmp_path: Path) -> None:
    rows = [(row(name, seed), Made(seed=seed)) for name in ("small", "large") for seed in (0, 1)]
    found = collect([make_matrix(tmp_path / "m", rows)])
    assert seeds(found) == {"small": (0, 1), "large": (0, 1)}
    assert [group.labels for group in found.groups] == [{"x": "small"}, {"x": "large"}]
    assert [run.row for run in found.runs] == [record for record, _ in rows]
    assert [matrix.title for matrix in found.matrices] == ["made"]
    assert found.reproductions == ()


def test_what_a_matrix_reproduced_is_read_with_it(tmp_path: Path) -> None:
    record = ReproductionRecord(
        recipe="some/table", title="", source="", scale="small", figures=(), published=(), claims=()
    )
    folder = make_matrix(tmp_path / "m", [(row("a"), Made())])
    write_reproduction(folder, record)
    assert (folder / REPRODUCTION).is_file()
    assert collect([folder]).reproductions == (record,)


def test_runs_are_found_at_any_depth(tmp_path: Path) -> None:
    make_run(tmp_path / "b" / "deep" / "one", Made(settings=student("kd")))
    make_seeds(tmp_path / "a", [Made(seed=seed, settings=student("fit")) for seed in (0, 1)])
    make_matrix(tmp_path / "c" / "m", [(row("r"), Made())])
    make_run(tmp_path / ".hidden" / "two")
    found = collect([tmp_path])
    assert seeds(found) == {"fit": (0, 1), "kd": (0,), "r": (0,)}


def test_links_that_lead_back_up_are_followed_once(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "one")
    for name in ("a", "b", "c"):
        (tmp_path / "runs" / name).symlink_to(tmp_path, target_is_directory=True)
    assert names(collect([tmp_path])) == ["one"]


def test_a_run_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    folder = make_seeds(tmp_path / "runs" / "one", [Made(seed=0), Made(seed=1)])
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    found = collect([folder, tmp_path / "runs", folder / "seed-1", tmp_path / "link"])
    assert seeds(found) == {"one": (0, 1)}
    matrix = make_matrix(tmp_path / "m", [(row("a"), Made())])
    found = collect([matrix / "runs" / "a-0", matrix, matrix])
    assert names(found) == ["a"]
    assert len(found.matrices) == 1


def test_a_seed_that_was_run_twice_is_no_second_seed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make_seeds(tmp_path / name, [Made(seed=0), Made(seed=1)])
    assert seeds(collect([tmp_path])) == {"one": (0, 1), "two": (0, 1)}


def test_runs_that_differ_in_seed_and_machine_only_repeat_each_other(tmp_path: Path) -> None:
    make_run(tmp_path / "a", Made(seed=1, settings={"device": "cuda", "threads": 8, "data_root": "/data"}))
    make_run(tmp_path / "b", Made(seed=0))
    (group,) = collect([tmp_path]).groups
    assert group.seeds == (0, 1)
    assert group.name == "b"


# -- names ------------------------------------------------------------------------------------------------------------


def test_groups_are_named_and_labelled_by_what_differs(tmp_path: Path) -> None:
    for eps in ("0.1", "0.2"):
        for name in ("kd", "fit"):
            make_run(tmp_path / f"{name}-{eps}", Made(eps=eps, settings=student(name, epochs=2)))
    found = collect([tmp_path])
    labels = {group.name: dict(group.labels) for group in found.groups}
    assert labels == {
        f"{name}:epochs=2, eps {eps}": {"student": f"{name}:epochs=2", "eps": eps}
        for eps in ("0.1", "0.2")
        for name in ("kd", "fit")
    }


@pytest.mark.parametrize(
    ("setting", "values", "shown"),
    [
        ("norm", ("linf", "l2"), ["linf", "l2"]),
        ("deterministic", (False, True), ["deterministic false", "deterministic true"]),
        ("budget", (None, 100), ["budget none", "budget 100"]),
        ("eval_size", (10, 20), ["eval_size 10", "eval_size 20"]),
    ],
)
def test_plain_values_are_told_with_their_setting_unless_they_speak_for_themselves(
    tmp_path: Path, setting: str, values: tuple[object, object], shown: list[str]
) -> None:
    for number, value in enumerate(values):
        make_run(tmp_path / str(number), Made(settings={setting: value}))
    assert names(collect([tmp_path])) == shown


def test_phases_and_attacks_are_told_apart_in_words(tmp_path: Path) -> None:
    several = {
        "student": [{"name": "kd"}, {"name": "fit"}],
        "attack": [{"name": "one"}, {"name": "two"}],
        "typed": {"student": ["kd", "fit"], "attack": ["one", "two:steps=5"]},
    }
    make_run(tmp_path / "a", Made(settings=several))
    (run,) = collect([tmp_path]).runs
    assert (run.typed["student"], run.typed["attack"]) == ("kd then fit", "one, two:steps=5")
    make_run(tmp_path / "b", Made(settings=student("kd")))
    assert names(collect([tmp_path])) == ["kd then fit, one, two:steps=5", "kd, attack none"]


def test_groups_that_only_differ_in_defaults_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for number in (1, 2):
        settings = {"student": [{"name": "kd", "rate": number}], "typed": {"student": ["kd"]}}
        make_run(tmp_path / f"r{number}" / "one", Made(settings=settings))
    assert names(collect([tmp_path])) == ["one (r1/one)", "one (r2/one)"]


def test_equal_rows_of_two_matrices_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name in ("m", "n"):
        make_matrix(tmp_path / name, [(row("a"), Made())])
    assert names(collect([tmp_path])) == ["a (m/runs/a-0)", "a (n/runs/a-0)"]


def test_a_run_named_by_a_dot_has_the_name_of_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_run(tmp_path / "first"))
    assert names(collect([Path()])) == ["first"]


@given(st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from("def"), st.integers(0, 3)), min_size=1))
def test_every_run_is_in_one_group_and_no_two_groups_have_one_name(
    tmp_path_factory: pytest.TempPathFactory, runs: set[tuple[str, str, int]]
) -> None:
    home = tmp_path_factory.mktemp("runs")
    for folder, name, seed in runs:
        make_run(home / folder / f"{name}-{seed}", Made(seed=seed, settings=student(name)))
    found = collect([home])
    assert len(set(names(found))) == len(found.groups)
    assert len(found.runs) == len(runs)
    assert all(len(set(group.seeds)) == len(group.seeds) for group in found.groups)
    assert all(list(group.seeds) == sorted(group.seeds) for group in found.groups)


# -- what is not finished, or no run ----------------------------------------------------------------------------------


def reasons(found: Collection) -> dict[str, str]:
    return {run.name: run.reason for run in found.unfinished}


def test_a_run_without_results_is_not_finished(tmp_path: Path) -> None:
    stopped = make_unfinished(tmp_path / "stopped")
    fresh = make_unfinished(tmp_path / "fresh")
    shutil.rmtree(RunFiles(fresh).progress)
    found = collect([tmp_path])
    assert found.groups == ()
    assert found.unfinished == (
        Unfinished(fresh, "fresh", "it has just begun"),
        Unfinished(stopped, "stopped", "it was stopped, or still runs"),
    )


def test_seeds_that_have_not_begun_are_not_forgotten(tmp_path: Path) -> None:
    folder = make_seeds(tmp_path / "one", [Made(seed=5), Made(seed=6)], asked=4)
    make_unfinished(folder / "seed-7", 7)
    found = collect([folder])
    assert seeds(found) == {"one": (5, 6)}
    assert reasons(found) == {"seed-8": "it has not begun", "seed-7": "it was stopped, or still runs"}


def test_seeds_that_were_removed_are_not_forgotten(tmp_path: Path) -> None:
    folder = make_seeds(tmp_path / "one", [Made(seed=0), Made(seed=1)])
    shutil.rmtree(folder / "seed-1")
    assert reasons(collect([folder])) == {"seed-1": "its folder is gone"}
    shutil.rmtree(folder / "seed-0")
    assert reasons(collect([folder])) == {"one": "the folders of its seeds are gone"}


def test_rows_without_results_say_why(tmp_path: Path) -> None:
    rows = [
        attrs.evolve(row("a"), status="failed", reason="too little memory"),
        attrs.evolve(row("b"), status="failed"),
        attrs.evolve(row("c"), status="interrupted"),
        attrs.evolve(row("d"), status="waiting"),
        row("e"),
    ]
    found = collect([make_matrix(tmp_path / "m", [*((record, None) for record in rows), (row("f"), Made())])])
    assert names(found) == ["f"]
    assert reasons(found) == {
        "a": "too little memory",
        "b": "it failed",
        "c": "it was interrupted",
        "d": "it has not begun",
        "e": "its folder is gone",
    }


def test_a_folder_without_runs_is_refused_by_its_name(tmp_path: Path) -> None:
    make_run(tmp_path / "good")
    (tmp_path / "foreign" / "inner").mkdir(parents=True)
    (tmp_path / "foreign" / "report.json").write_text("{}")
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match=r"foreign` holds no run: there is no `run\.toml` in it or below it, and"):
        collect([tmp_path / "good", tmp_path / "foreign"])
    with pytest.raises(RequestError, match=r"file` holds no run"):
        collect([tmp_path / "file"])
    with pytest.raises(RequestError, match=r"nowhere` does not exist\. Name the folder of a run or a matrix\."):
        collect([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("report.json", '{"format": 1', r"The report `.*report\.json` is damaged"),
        ("report.json", json.dumps({"format": 9}), r"report\.json` was written by a newer rcframe"),
        ("run.toml", "seed = ", r"run\.toml` is not valid TOML"),
        ("run.toml", "format = 9", r"run\.toml` was written by a newer rcframe"),
    ],
)
def test_damage_is_a_sentence(tmp_path: Path, name: str, text: str, complaint: str) -> None:
    (make_run(tmp_path / "a") / name).write_text(text)
    with pytest.raises(RequestError, match=complaint):
        collect([tmp_path])


def test_damaged_evidence_is_a_sentence_once_it_is_wanted(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "a")
    RunFiles(folder).evidence.write_bytes(b"nothing")
    (run,) = collect([folder]).runs
    with pytest.raises(RequestError, match=r"evidence\.safetensors` is damaged"):
        print(run.evidence)


def test_words_that_are_no_lists_are_passed_over(tmp_path: Path) -> None:
    (run,) = collect([make_run(tmp_path / "a", Made(settings={"typed": {"data": "digits"}}))]).runs
    assert run.typed == {}
    (run,) = collect([make_run(tmp_path / "b", Made(settings={"typed": 3}))]).runs
    assert run.typed == {}

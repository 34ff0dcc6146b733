from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rcframe.options import Number

if TYPE_CHECKING:
    from tests.conftest import Command

TINY = (
    *("--data", "glyphs:size=8,classes=3,train=24,test=9", "--model", "mlp:hidden=4", "--device", "cpu"),
    *("--teacher", "plain:epochs=1", "--student", "kd:epochs=1"),
)


def settings(folder: str) -> dict[str, Any]:
    return tomllib.loads((Path(folder) / "run.toml").read_text())


def test_a_run_ends_with_a_table_and_leaves_its_folder(cli: Command) -> None:
    outcome = cli(
        "run", *TINY, "--attack", "fgsm", "--attack", "pgd:steps=2", "--certifier", "convex", "--eps", "2/255"
    )
    assert outcome.code == 0
    for words in ("teacher: plain:epochs=1", "student: kd:epochs=1", "clean", "fgsm", "pgd:steps=2", "convex", "2/255"):
        assert words in outcome.out
    assert outcome.out.endswith("Written to runs/glyphs-plain-kd-1\n")
    for words in ("teacher/train: 1 epochs of 1 batches", "student/train: epoch 1/1", "measuring student: pgd:steps=2"):
        assert words in outcome.err
    folder = Path("runs/glyphs-plain-kd-1")
    # Plugins that watch runs may write into a folder of their own in it.
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        *("run.toml", "report.json", "evidence.safetensors", "metrics.jsonl", "log.txt", "work.json", ".lock"),
        *("teacher.safetensors", "student.safetensors"),
    }
    report = json.loads((folder / "report.json").read_text())
    assert list(report["student"]["attacked"]) == ["fgsm", "pgd:steps=2"]
    assert report["student"]["certified"]["convex"]["eps"] == "2/255"
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["teacher/train", "student/train"]


def test_every_run_gets_a_folder_of_its_own(cli: Command) -> None:
    for _ in range(2):
        assert cli("run", *TINY).code == 0
    assert {path.name for path in Path("runs").iterdir()} == {"glyphs-plain-kd-1", "glyphs-plain-kd-2"}


def test_quiet_prints_nothing_unless_json_is_asked_for(cli: Command) -> None:
    outcome = cli("run", *TINY, "--quiet", "--out", "here")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert Path("here/report.json").is_file()
    outcome = cli("run", *TINY, "-q", "--format", "json")
    assert json.loads(outcome.out)["student"]["clean"]["n"] > 0
    assert outcome.err == ""


def test_certified_radii_are_searched_for_as_many_images_as_asked(cli: Command) -> None:
    outcome = cli("run", *TINY, "--certifier", "convex", "--radii", "4", "--out", "here")
    assert outcome.code == 0
    assert "radius certified by convex, mean (median)" in outcome.out
    assert json.loads(Path("here/report.json").read_text())["student"]["radii"]["convex"]["n"] == 4
    refused = cli("run", *TINY, "--radii", "4")
    assert refused.code == 2
    assert "there is no certifier" in refused.err


def test_the_result_can_be_json(cli: Command) -> None:
    outcome = cli("run", *TINY, "--format", "json", "--out", "here")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert report == json.loads(Path("here/report.json").read_text())
    assert 0 <= report["student"]["clean"]["low"] <= report["student"]["clean"]["accuracy"] <= 1
    assert report["student"]["clean"]["n"] == 9
    assert shlex.split(report["command"]) == ["rcframe", "run", *TINY, "--format", "json", "--out", "here"]


def test_the_written_configuration_repeats_the_run_bit_for_bit(cli: Command) -> None:
    assert cli("run", *TINY, "--attack", "pgd:step_size=1/255,steps=2", "--seed", "4", "--out", "first").code == 0
    assert cli("run", "first/run.toml", "--no-cache", "--out", "second").code == 0
    wording = ("command",)
    said = [{k: v for k, v in settings(f).items() if k not in wording} for f in ("first", "second")]
    assert said[0] == said[1]
    for name in ("teacher.safetensors", "student.safetensors"):
        assert Path("first", name).read_bytes() == Path("second", name).read_bytes(), name
    first, second = (json.loads(Path(f"{folder}/report.json").read_text()) for folder in ("first", "second"))
    different = {key for key in first if first[key] != second[key]}
    assert different <= {"command", "seconds"}
    # Not the shortest words for it, but those that were typed.
    assert list(second["student"]["attacked"]) == ["pgd:step_size=1/255,steps=2"]
    assert cli("run", "first/run.toml", "--seed", "5", "--out", "third").code == 0
    assert Path("third/student.safetensors").read_bytes() != Path("first/student.safetensors").read_bytes()


def test_a_flag_beats_the_environment_which_beats_the_file_which_beats_the_default(cli: Command) -> None:
    Path("asked.toml").write_text(
        'seed = 1\neval_size = 2\neps = "1/255"\nattack = ["fgsm"]\n'
        'data = "glyphs:size=8,classes=3,train=24,test=9"\nmodel = "mlp:hidden=4"\n'
        'device = "cpu"\n[teacher]\nname = "plain"\nepochs = 0\n[[student]]\nname = "plain"\nepochs = 0\n'
    )
    environment = {"RCFRAME_RUN_SEED": "2", "RCFRAME_RUN_EVAL_SIZE": "3", "RCFRAME_RUN_ATTACK": "pgd:steps=1 fgsm"}
    assert cli("run", "asked.toml", "--seed", "4", "--out", "all", **environment).code == 0
    found = settings("all")
    assert (found["seed"], found["eval_size"], found["eps"], found["norm"]) == (4, 3, "1/255", "linf")
    assert [attack["name"] for attack in found["attack"]] == ["pgd", "fgsm"]
    assert (found["teacher"]["epochs"], found["teacher"]["batch_size"]) == (0, 64)
    assert cli("run", "asked.toml", "--attack", "pgd:steps=2", "--out", "file").code == 0
    found = settings("file")
    assert (found["seed"], found["eval_size"]) == (1, 2)
    assert [(attack["name"], attack["steps"]) for attack in found["attack"]] == [("pgd", 2)]


@pytest.mark.parametrize("eps", ["8/255", "0.10", "3e-2"])
def test_eps_is_stored_as_typed(eps: str, cli: Command) -> None:
    assert cli("run", *TINY, "--attack", "fgsm", "--eps", eps, "--out", "here").code == 0
    assert settings("here")["eps"] == eps
    measured = json.loads(Path("here/report.json").read_text())["student"]["attacked"]["fgsm"]
    assert (measured["eps"], measured["norm"]) == (eps, "linf")


def test_the_radius_of_the_data_set_is_taken_and_recorded_when_none_is_asked(cli: Command) -> None:
    assert cli("run", *TINY, "--attack", "fgsm", "--out", "here").code == 0
    assert Number(settings("here")["eps"]) == 8 / 255


def test_phases_of_the_student_follow_each_other(cli: Command) -> None:
    assert cli("run", *TINY, "--student", "plain:epochs=2", "--out", "here").code == 0
    lines = [json.loads(line) for line in Path("here/metrics.jsonl").read_text().splitlines()]
    assert [line["stage"] for line in lines] == ["teacher/train", "student/train", *["student/train-2"] * 2]
    assert json.loads(Path("here/report.json").read_text())["student"]["component"] == "kd:epochs=1 then plain:epochs=2"


def test_an_earlier_student_and_saved_weights_become_teachers(cli: Command) -> None:
    assert cli("run", *TINY, "--out", "first").code == 0
    without = [part for part in TINY if part not in ("--teacher", "plain:epochs=1")]
    assert cli("run", *without, "--teacher", "run:first", "--out", "second").code == 0
    assert cli("run", *without, "--teacher", "file:first/student.safetensors", "--out", "third").code == 0
    reports = {name: json.loads(Path(f"{name}/report.json").read_text()) for name in ("first", "second", "third")}
    assert reports["second"]["teacher"]["clean"] == reports["first"]["student"]["clean"]
    assert reports["third"]["teacher"]["clean"] == reports["first"]["student"]["clean"]


# -- the cache, going on, several seeds -------------------------------------------------------------------------------


def test_a_second_run_comes_from_the_cache_unless_that_is_refused(cli: Command) -> None:
    assert "from the cache" not in cli("run", *TINY).err
    again = cli("run", *TINY)
    assert again.code == 0
    for name in ("teacher/train", "student/train", "teacher: clean", "student: clean"):
        assert f"{name}: from the cache" in again.err
    assert "from the cache" not in cli("run", *TINY, "--no-cache").err


def test_a_finished_run_is_shown_again(cli: Command) -> None:
    first = cli("run", *TINY, "--out", "here")
    again = cli("run", "--resume", "here")
    assert (again.code, again.err) == (0, "")
    assert again.out == first.out
    assert json.loads(cli("run", "--resume", "here", "--format", "json").out) == json.loads(
        Path("here/report.json").read_text()
    )


def test_a_run_that_has_only_begun_is_carried_out(cli: Command) -> None:
    assert cli("run", *TINY, "--out", "whole").code == 0
    assert cli("run", *TINY, "--out", "begun").code == 0
    for path in Path("begun").iterdir():
        if path.is_file() and path.name != "run.toml":
            path.unlink()
    outcome = cli("run", "--resume", "begun", "--no-cache")
    assert outcome.code == 0
    assert outcome.out.endswith("Written to begun\n")
    reports = [json.loads(Path(folder, "report.json").read_text()) for folder in ("whole", "begun")]
    assert reports[0]["student"] == reports[1]["student"]
    assert reports[1]["command"] == shlex.join(["rcframe", "run", *TINY, "--out", "begun"])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--seed", "3"], "--seed"),
        (["--student", "plain", "--eval-size", "4"], "--student, --eval-size"),
        (["--deterministic"], "--deterministic"),
        (["--out", "there"], "--out"),
        (["asked.toml"], "`asked.toml`"),
    ],
)
def test_a_run_that_goes_on_takes_no_other_settings(arguments: list[str], named: str, cli: Command) -> None:
    assert cli("run", *TINY, "--out", "here").code == 0
    outcome = cli("run", "--resume", "here", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == (f"Error: A resumed run keeps the settings it was started with: leave out {named}.\n")


@pytest.mark.parametrize(("folder", "words"), [("gone", "does not exist"), (".", "has no `run.toml`")])
def test_a_folder_without_a_run_is_refused(folder: str, words: str, cli: Command) -> None:
    outcome = cli("run", "--resume", folder)
    assert (outcome.code, outcome.out) == (2, "")
    assert words in outcome.err


def test_a_data_root_that_is_not_there_is_told_of_although_the_run_needs_none(cli: Command, tmp_path: Path) -> None:
    words = f"There is no folder `{tmp_path}/nowhere`, which --data-root names: no file of a data set is found there."
    assert words in cli("run", *TINY, "--data-root", str(tmp_path / "nowhere")).err
    assert "There is no folder" not in cli("run", *TINY, "--data-root", str(tmp_path)).err


def test_several_seeds_end_with_their_means_and_a_folder_each(cli: Command) -> None:
    outcome = cli("run", *TINY, "--attack", "fgsm", "--seed", "3", "--seeds", "2", "--out", "here")
    assert outcome.code == 0
    for words in ("seeds 3 to 4", "mean over 2 seeds", "clean", "fgsm", " ± ", "intervals over seeds and images."):
        assert words in outcome.out
    report = json.loads(Path("here/report.json").read_text())
    assert report["seeds"] == [3, 4]
    for seed, run in zip((3, 4), report["runs"], strict=True):
        assert run == json.loads(Path(f"here/seed-{seed}/report.json").read_text())
    assert json.loads(cli("run", "--resume", "here", "--format", "json").out) == report


def test_how_exactly_a_run_computes_is_recorded(cli: Command) -> None:
    asked = ("--precision", "bf16", "--deterministic", "--threads", "2", "--workers", "0", "--checkpoint", "0.5")
    assert cli("run", *TINY, *asked, "--out", "here").code == 0
    found = settings("here")
    assert (found["precision"], found["deterministic"], found["threads"]) == ("bf16", True, 2)
    assert (found["workers"], found["checkpoint"], found["seeds"]) == (0, 0.5, 1)
    assert set(found["environment"]) == {"device", "threads", "processes", "platform"}


def test_every_option_stands_under_a_heading(cli: Command) -> None:
    listed = cli("run", "--help").out
    assert "What to combine" in listed
    assert "─ Options ─" not in listed

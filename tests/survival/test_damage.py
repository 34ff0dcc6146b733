"""Files that are damaged or edited between a stop and going on, or come from the future."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from tests.survival.conftest import Bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks processes")

Damage = Callable[[Path], None]


def cut(share: float) -> Damage:
    """Keep the first part of a file."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return damage


def flip(chance: int) -> Damage:
    """Flip a bit anywhere."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        place = random.Random(chance).randrange(8 * len(content))
        content[place // 8] ^= 1 << place % 8
        path.write_bytes(content)

    return damage


DAMAGES = [cut(0.0), cut(0.5), cut(0.9999), *map(flip, range(4))]


def state_of(run: Path, work: str) -> Path:
    (path,) = (run / "progress").glob(f"{work}-*.safetensors")
    return path


# -- state ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_dropped_and_its_stage_begins_anew(
    bench: Bench, tmp_path: Path, damage: Damage
) -> None:
    run = tmp_path / "run"
    bench.stopped(bench.begin(run, TROUBLE="step:raise"), run)
    path = state_of(run, "student-train")
    damage(path)
    lines = bench.goes_on(run).err.splitlines()
    (named,) = (line for line in lines if "damaged" in line)
    assert named.startswith(f"`{path}` is damaged")
    assert named.endswith("It is dropped; `student/train` starts anew.")
    assert not any("goes on where it was stopped" in line for line in lines)
    assert not any(line.startswith("teacher/train: 2 epochs") for line in lines)


@pytest.mark.parametrize("work", ["teacher-train", "student-more", "teacher-clean"])
def test_a_damaged_result_is_computed_anew(bench: Bench, tmp_path: Path, work: str) -> None:
    run = tmp_path / "run"
    bench.stopped(bench.begin(run, TROUBLE="craft:raise"), run)
    flip(1)(state_of(run, work))
    assert f"{work}-" in next(line for line in bench.goes_on(run).err.splitlines() if "damaged" in line)


@pytest.mark.parametrize("damage", [cut(0.5), flip(2)])
def test_a_damaged_entry_of_the_cache_is_computed_anew(bench: Bench, tmp_path: Path, damage: Damage) -> None:
    cache = str(tmp_path / "cache")
    assert bench.begin(tmp_path / "first", RCFRAME_CACHE=cache).code == 0
    entries = sorted((tmp_path / "cache").rglob("*.safetensors"))
    for path in entries:
        damage(path)
    ended = bench.begin(tmp_path / "second", RCFRAME_CACHE=cache)
    assert ended.code == 0, ended
    named = [line for line in ended.err.splitlines() if "damaged" in line]
    assert len(named) == len(entries) == 11
    assert all("It is not used; `" in line for line in named)
    bench.undisturbed(tmp_path / "second")
    third = bench.begin(tmp_path / "third", RCFRAME_CACHE=cache)
    assert third.err.count(": from the cache") == 11
    bench.undisturbed(tmp_path / "third")


def test_a_checkpoint_from_the_future_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bench.stopped(bench.begin(run, TROUBLE="step:raise"), run)
    path = state_of(run, "student-train")
    with safe_open(path, framework="pt") as file:
        head = json.loads(file.metadata()["rcframe_state"])
    save_file(load_file(path), path, {"rcframe_state": json.dumps({**head, "format": 2})})
    written = path.read_bytes()
    ended = bench.resume(run)
    assert ended.code == 1
    newer = f"Error: `{path}` was written by a newer rcframe (format 2): upgrade to read it."
    assert newer in ended.err.splitlines()
    assert path.read_bytes() == written


# -- what a run says about itself ----------------------------------------------------------------------------------


def refused(bench: Bench, *arguments: str) -> str:
    """Return the one sentence with which a command is refused."""
    ended = bench.start(*arguments).end()
    assert (ended.code, ended.out) == (2, ""), ended
    (sentence,) = ended.err.splitlines()
    return sentence


def finished(bench: Bench, run: Path) -> Path:
    assert bench.begin(run).code == 0
    return run / "report.json"


def test_a_damaged_report_is_named_and_can_be_had_again(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    report = finished(bench, run)
    cut(0.5)(report)
    sentence = refused(bench, "run", f"--resume={run}")
    assert f"The report `{report}` is damaged" in sentence
    assert f"Remove it, and `rcframe run --resume {run}` computes it again." in sentence
    report.unlink()
    bench.goes_on(run)


def test_a_report_from_the_future_is_refused(bench: Bench, tmp_path: Path) -> None:
    report = finished(bench, tmp_path / "run")
    report.write_text(json.dumps({**json.loads(report.read_text()), "format": 99}))
    sentence = refused(bench, "run", f"--resume={tmp_path / 'run'}")
    assert f"`{report}` was written by a newer rcframe (format 99): upgrade to read it." in sentence


@pytest.fixture
def begun(bench: Bench, tmp_path: Path) -> Path:
    """The `run.toml` of a run that was stopped while its student trained."""
    run = tmp_path / "run"
    bench.stopped(bench.begin(run, TROUBLE="step:raise"), run)
    return run / "run.toml"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_configuration_from_the_future_is_refused(bench: Bench, begun: Path) -> None:
    edit(begun, "format = 1", "format = 99")
    assert "was written by a newer rcframe (format 99)" in refused(bench, "run", f"--resume={begun.parent}")
    assert "was written by a newer rcframe (format 99)" in refused(bench, "run", str(begun))


@pytest.mark.parametrize(
    ("old", "new", "setting"),
    [
        ("lr = 0.02", "lr = 0.03", "teacher, student"),
        ("seed = 0", "seed = 1", "seed, data"),
        ("noise = 0.01", "noise = 0.02", "data"),
        ('eps = "0.1"', 'eps = "0.2"', "eps"),
        ("eval_size = 0", "eval_size = 8", "eval_size"),
        ("seeds = 1", "seeds = 2", "seeds"),
        ('attack = ["troubled"]', 'attack = ["gentle"]', "typed"),
        ('[[attack]]\nname = "troubled"', '[[attack]]\nname = "fgsm"', "attack"),
        ("[[attack]]", '[[attack]]\nname = "fgsm"\n\n[[attack]]', "attack"),
    ],
)
def test_an_edited_configuration_is_refused(bench: Bench, begun: Path, old: str, new: str, setting: str) -> None:
    original, run = begun.read_text(), begun.parent
    edit(begun, old, new)
    sentence = refused(bench, "run", f"--resume={run}", "--no-cache")
    assert f"`{begun}` was edited since the run began ({setting}), but a run keeps its settings." in sentence
    assert f"start a new run from it: rcframe run {begun}" in sentence
    begun.write_text(original)
    bench.goes_on(run)


def test_what_no_result_depends_on_may_be_edited(bench: Bench, begun: Path) -> None:
    edit(begun, "checkpoint = 0.0", "checkpoint = 1000.0")
    edit(begun, "workers = 0", "workers = 1")
    bench.goes_on(begun.parent)


def test_an_edit_that_the_user_insists_on_is_carried_out_named_and_reported(bench: Bench, begun: Path) -> None:
    edit(begun, '[[attack]]\nname = "troubled"', '[[attack]]\nname = "fgsm"')
    edit(begun, 'eps = "0.1"', 'eps = "0.2"')
    assert bench.resume(begun.parent, "--despite-changes").code == 0
    report = json.loads((begun.parent / "report.json").read_text())
    assert list(report["student"]["attacked"]) == ["fgsm"]
    assert report["student"]["attacked"]["fgsm"]["eps"] == "0.2"
    (flag,) = (flag for flag in report["flags"] if "went on" in flag)
    assert "the setting eps, the setting attack" in flag
    # It is no result that others may share.
    assert bench.resume(begun.parent).code == 0


def test_seeds_of_different_settings_are_never_mixed(bench: Bench, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bench.stopped(bench.begin(run, "--seeds=2", TROUBLE="craft:SIGINT"), run, 130)
    edit(run / "run.toml", 'eps = "0.1"', 'eps = "0.2"')
    sentence = refused(bench, "run", f"--resume={run}", "--despite-changes", "--no-cache")
    assert "was edited since the run began (eps)" in sentence


def test_a_configuration_that_is_damaged_is_refused(bench: Bench, begun: Path) -> None:
    cut(0.5)(begun)
    sentence = refused(bench, "run", f"--resume={begun.parent}")
    assert f"`{begun}` is not" in sentence


def test_weights_from_the_future_are_refused(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    with safe_open(bench.whole / "student.safetensors", framework="pt") as file:
        described = json.loads(file.metadata()["rcframe"])
    metadata = {"rcframe": json.dumps({**described, "format": 99})}
    save_file(load_file(bench.whole / "student.safetensors"), path, metadata)
    sentence = refused(bench, "run", f"--teacher=file:{path}", f"--out={tmp_path / 'run'}")
    assert f"`{path}` has format 99" in sentence
    assert "it was written by a newer rcframe: upgrade to read it." in sentence
    assert not (tmp_path / "run").exists()

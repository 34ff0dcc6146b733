"""Every command that the README and CONTRIBUTING show is executed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from rcframe.api import Model
from rcframe.data.digits import Digits
from rcframe.registry import registry

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
Shell = Callable[..., str]
#: Fewer test images than the commands would take by themselves.
FEW = {"RCFRAME_RUN_EVAL_SIZE": "20"}


def after(marker: str) -> str:
    """The indented block behind a marker of the README."""
    lines = README.split(f"<!-- {marker} -->")[1].lstrip("\n").splitlines()
    end = next((number for number, line in enumerate(lines) if line and not line.startswith("    ")), len(lines))
    return "\n".join(line[4:] for line in lines[:end]).rstrip()


def under(heading: str) -> list[str]:
    """The indented commands under a heading of the README, marked blocks apart."""
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0].split("<!--")[0]
    return re.findall(r"^    (\S.*)$", section, flags=re.MULTILINE)


def shortened(command: str) -> str:
    """The command with fewer epochs where it does not say how teacher or student are trained."""
    missing = [role for role in ("teacher", "student") if f"--{role} " not in command]
    return " ".join([command, *(f"--{role} plain:epochs=4" for role in missing)])


def test_the_two_commands_of_the_start_set_everything_up() -> None:
    run, test = after("run"), after("test")
    assert run.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt && .venv/bin/rcframe ")
    assert test.startswith("python3 -m venv .venv && .venv/bin/pip install -q -r requirements-dev.txt && ")
    files = [(ROOT / name).read_text() for name in ("requirements.txt", "requirements-dev.txt")]
    users, developers = (re.findall(r"plugins/(\S+)", text) for text in files)
    assert developers == ["rcframe-mlflow", "rcframe-ray", "rcframe-slurm", "rcframe-tensorboard"]
    assert {*users, *developers} == {
        folder.name for folder in (ROOT / "plugins").iterdir() if (folder / "pyproject.toml").exists()
    }


@pytest.mark.slow
def test_the_main_command_runs(user: Shell, tmp_path: Path) -> None:
    table = user(after("run").split(" && .venv/bin/")[-1], tmp_path)
    assert "teacher: nasty" in table
    assert "student: skeptical" in table
    assert (tmp_path / "runs" / "digits-nasty-skeptical-1" / "report.json").is_file()


def test_the_commands_for_choosing_run(user: Shell, tmp_path: Path) -> None:
    for command in under("Choose"):
        assert user(command, tmp_path)


def test_the_shell_completes_names(user: Shell, tmp_path: Path) -> None:
    asked = 'COMP_WORDS="rcframe run --attack pg" COMP_CWORD=3 _RCFRAME_COMPLETE=bash_complete rcframe'
    listed = user(f"bash -c '{after('completion')}; {asked}'", tmp_path)
    assert "plain,pgd" in listed


@pytest.mark.slow
def test_the_commands_for_combining_run_or_are_refused_as_said(user: Shell, tmp_path: Path) -> None:
    *commands, refused = after("quick").splitlines()
    for command in commands:
        assert "clean" in user(shortened(command), tmp_path, **FEW)
    with pytest.raises(AssertionError, match=r"Nearest that would run: --access logit"):
        user(refused, tmp_path)
    (repeat,) = re.findall(r"`(rcframe run runs/\S+)`", README)
    assert "clean" in user(repeat, tmp_path, **FEW)
    (teacher,) = set(re.findall(r"`(--teacher run:runs/\S+)`", README))
    assert "teacher: run:" in user(f"rcframe run {teacher} --student plain:epochs=1", tmp_path, **FEW)


@pytest.mark.slow
def test_the_commands_for_robustness_run(user: Shell, tmp_path: Path) -> None:
    for command in after("robust").splitlines():
        shown = user(shortened(command).replace("epochs=10", "epochs=2"), tmp_path, **FEW)
        assert "Accuracy in percent" in shown
    assert "0.05" in user(shortened(after("robust").splitlines()[1]), tmp_path, **FEW), "the curve is shown"


@pytest.mark.slow
def test_the_commands_for_weights_convert_a_whole_model_and_use_it(user: Shell, tmp_path: Path) -> None:
    model = registry().make("model", "convnet")
    assert isinstance(model, Model)
    torch.save(model.build(Digits().load(tmp_path).info), tmp_path / "weights.pt")
    convert, use = after("weights").splitlines()
    assert "file:weights.safetensors" in user(convert, tmp_path)
    assert "teacher: file" in user(f"{use} --student plain:epochs=1", tmp_path, **FEW)


@pytest.mark.slow
def test_the_commands_for_sharing_train_nothing_twice(user: Shell, tmp_path: Path) -> None:
    quick = {"--teacher nasty": ":epochs=3,adversary_epochs=3", "--student skeptical": ":epochs=3"}
    for command in after("share").splitlines():
        for words, options in quick.items():
            command = command.replace(words, words + options)
        assert user(command, tmp_path, **FEW)
    first, second, *others = (outcomes(tmp_path / "runs" / name) for name in SHARING)
    assert first == ["computed"] * 3
    # The third repeats with seed 0 what the second did, and with other seeds what nobody did.
    assert [second, *others] == [["cache"] * 3, ["cache"] * 3, ["computed"] * 3, ["computed"] * 3]


SHARING = ("first", "second", "three-seeds/seed-0", "three-seeds/seed-1", "three-seeds/seed-2")


def outcomes(folder: Path) -> list[str]:
    work = json.loads((folder / "work.json").read_text())["work"]
    return [item["outcome"] for item in work if "/" in item["determined_by"]["name"]]


@pytest.mark.slow
def test_the_commands_for_comparing_repeating_and_showing_run(user: Shell, tmp_path: Path) -> None:
    dry, matrix, report, compare, recipes, reproduce = after("experiments").splitlines()
    example = (ROOT / "examples" / "students.toml").read_text(encoding="utf-8")
    (tmp_path / "examples").mkdir()
    shorter = example.replace("seeds = 2", "seeds = 1").replace("epochs=10", "epochs=1").replace("epochs=5", "epochs=1")
    (tmp_path / "examples" / "students.toml").write_text(shorter, encoding="utf-8")
    assert "7 runs" in user(dry, tmp_path)
    assert not (tmp_path / "runs").exists()
    assert "labels alone" in user(matrix, tmp_path)
    assert "report.html" in user(report, tmp_path)
    for name in ("first", "second"):
        user(f"rcframe run --teacher plain:epochs=1 --student plain:epochs=1 --out runs/{name}", tmp_path)
    assert "clean" in user(compare, tmp_path)
    assert reproduce.split()[2] in user(recipes, tmp_path)
    # The conformance kit carries every recipe out in a shortened form.
    assert "nasty teacher" in user(f"{reproduce} --dry-run", tmp_path)


@pytest.mark.slow
def test_the_python_block_runs_on_a_plain_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
    x, y = torch.rand(5, 1, 8, 8), torch.randint(10, (5,))
    names: dict[str, object] = {"model": model, "x": x, "y": y}
    exec(after("python"), names)
    x_adv, lower = names["x_adv"], names["lower"]
    assert isinstance(x_adv, torch.Tensor)
    assert isinstance(lower, torch.Tensor)
    assert float((x_adv - x).abs().max()) <= 8 / 255 + 1e-6
    assert lower.shape == (5, 10)
    assert not lower.gather(1, y.unsqueeze(1)).any()
    report = names["report"]
    assert list(report.student.attacked) == ["fgsm", "pgd:steps=10"]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_commands_for_writing_a_plugin_run(fresh_user: Shell, tmp_path: Path) -> None:
    new, install, check, use = under("Write a plugin")
    fresh_user(new, tmp_path)
    fresh_user(install.replace("-e", "--no-deps --no-build-isolation"), tmp_path)
    assert "All" in fresh_user(check, tmp_path)
    assert "my-idea" in fresh_user(f"{use} --teacher plain:epochs=1 --student plain:epochs=1", tmp_path, **FEW)


def test_the_command_of_contributing_writes_a_plugin(user: Shell, tmp_path: Path) -> None:
    (command,) = re.findall(r"^    \.venv/bin/(rcframe new .*)$", CONTRIBUTING, flags=re.MULTILINE)
    (tmp_path / "plugins").mkdir()
    user(command, tmp_path)
    assert (tmp_path / "plugins" / "rcframe-my-idea" / "pyproject.toml").is_file()


def test_the_tables_name_everything_that_is_installed() -> None:
    for kind in ("teacher", "student", "neuron", "pruner", "attack", "certifier", "data", "engine"):
        row = next(line for line in README.splitlines() if line.startswith(f"| {kind} |"))
        for item in registry().announced(kind):
            assert f"`{item.spec.name}" in row, f"the README does not name {kind} `{item.spec.name}`"
    (count,) = re.findall(r"(\d+) networks", README)
    zoo = [item for item in registry().announced("model") if item.distribution == "rcframe"]
    assert int(count) == len(zoo) - 3, "python, torchvision and timm apart"

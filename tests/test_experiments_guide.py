"""docs/experiments.md and the example of a matrix show what works."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import rcframe as rc
from rcframe.experiments.matrix_file import parse_matrix, read_matrix_file
from rcframe.experiments.plan import make_plan
from rcframe.registry import registry

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """The fenced block behind a marker."""
    return GUIDE.split(f"<!-- {marker} -->")[1].split("```")[1].partition("\n")[2]


def test_the_example_of_a_matrix_has_the_rows_that_its_comments_announce() -> None:
    plan = make_plan(read_matrix_file(ROOT / "examples" / "students.toml"))
    names = list(dict.fromkeys(run.name for run in plan.runs))
    assert names == [
        "plain, kd, cool",
        "plain, kd, warm",
        "plain, skeptical, warm",
        "nasty, kd, cool",
        "nasty, kd, warm",
        "nasty, skeptical, warm",
        "labels alone",
    ]
    assert {run.config.seed for run in plan.runs} == {0, 1}
    assert not [run.refusal for run in plan.runs if run.refusal]


def test_the_bundle_changes_several_settings_at_once() -> None:
    matrix = parse_matrix(tomllib.loads(block("bundle")), "bundle", "The matrix")
    models = {run.name: (str(run.config.model), str(run.config.student_model)) for run in make_plan(matrix).runs}
    assert models == {"small": ("convnet", "mlp:hidden=16"), "large": ("digitnet", "convnet")}


@pytest.mark.slow
def test_the_python_block_compares_two_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = block("python").replace('"digits"}', '"digits", "teacher": "plain:epochs=1", "eval_size": 50}')
    exec(code, {"rc": rc})
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown] == ["plain:epochs=1", "kd:epochs=1"]


def test_the_table_names_every_engine_that_is_installed() -> None:
    rows = "\n".join(re.findall(r"^\| `.*", GUIDE, flags=re.MULTILINE))
    for item in registry().announced("engine"):
        assert f"`{item.spec.name}" in rows


def test_the_table_names_every_recipe_that_is_installed() -> None:
    rows = re.findall(r"^\| `(\S+/\S+)`", GUIDE, flags=re.MULTILINE)
    assert {found.name for found in registry().recipes()} <= set(rows)
    assert len(rows) == len(set(rows))

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from rcframe_distill.student import KD

from rcframe.cli import cli
from rcframe.testing.readme import commands, options_table

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_option() -> None:
    assert options_table(KD) in README


@pytest.mark.slow
@pytest.mark.parametrize("arguments", commands(README), ids=" ".join)
def test_the_command_of_the_readme_runs(arguments: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, [*arguments, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output

"""The README names what is there, and its command runs as it stands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rcframe_ray.engine import RayEngine

from rcframe.testing.readme import commands, options_table

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_every_option_is_listed() -> None:
    assert options_table(RayEngine) in README


@pytest.mark.slow
def test_the_command_runs(tmp_path: Path) -> None:
    (matrix,) = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    (arguments,) = commands(README)
    (tmp_path / arguments[1]).write_text(matrix)
    done = subprocess.run(
        [sys.executable, "-m", "rcframe", *arguments],
        cwd=tmp_path,
        env={**os.environ, "RCFRAME_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "runs" / "temperatures" / "matrix.json").read_text())["rows"]
    assert [row["status"] for row in rows] == ["done", "done"]

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from rcframe.api import Component
from rcframe.errors import RequestError
from rcframe.options import at_least, component, option
from rcframe.testing.readme import commands, options_table, run_command


@component
class Example(Component):
    """Has an option of every sort of default."""

    steps: int = option(default=3, help="Steps.", check=at_least(1))
    mode: Literal["a", "b"] = option(default="a", help="One of | two.")
    names: tuple[str, ...] = option(default=(), help="Names.")
    limit: float | None = option(default=None, help="Limit.")


def test_the_table_has_a_row_per_option() -> None:
    assert options_table(Example) == (
        "| option | default | allowed | meaning |\n"
        "| --- | --- | --- | --- |\n"
        "| `steps` | `3` | whole number at least 1 | Steps. |\n"
        "| `mode` | `a` | one of a, b | One of \\| two. |\n"
        "| `names` |  | list of text (a+b+c) | Names. |\n"
        "| `limit` | `none` | number or none | Limit. |\n"
    )


TEXT = """
Type `rcframe run --not-in-a-block`, then

    rcframe run --indented

and

```sh
rcframe run --seed 1 \\
  --out "my folder"   # a comment
pip install rcframe
```
rcframe run --after-the-block
"""


def test_commands_are_read_from_code_blocks_only() -> None:
    assert commands(TEXT) == [["run", "--indented"], ["run", "--seed", "1", "--out", "my folder"]]
    assert commands(TEXT, "pip") == [["install", "rcframe"]]


def test_a_command_that_runs_leaves_a_report_and_one_that_fails_is_an_error(tmp_path: Path) -> None:
    quick = [
        "run",
        "--data",
        "glyphs:classes=2,size=8,train=8,test=8",
        "--teacher",
        "plain:epochs=0",
        "--eval-size",
        "4",
    ]
    run_command([*quick, "--student", "plain:epochs=0", "--eps", "0.1"], tmp_path / "run")
    assert (tmp_path / "run" / "report.json").is_file()
    with pytest.raises((AssertionError, RequestError), match="no option `epoch`"):
        run_command([*quick, "--student", "plain:epoch=0"], tmp_path / "other")

"""READMEs that cannot go stale: the table of options derived from the options, and the commands to run.

In a plugin's tests:

    README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")

    def test_the_readme_lists_every_option() -> None:
        assert options_table(Mine) in README
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rcframe.options import options_of, to_text

if TYPE_CHECKING:
    from pathlib import Path

    from rcframe.api import Component


def options_table(cls: type[Component]) -> str:
    """Return the options of a component as a Markdown table, in the order of declaration."""
    rows = [("option", "default", "allowed", "meaning"), ("---",) * 4]
    rows += [
        (f"`{o.name}`", f"`{to_text(o.default)}`" if o.default != () else "", o.allowed, o.help)
        for o in options_of(cls)
    ]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows) + "\n"


def commands(text: str, program: str = "rcframe") -> list[list[str]]:
    """Return the arguments of every command of `program` in the code blocks, fenced or indented, of a Markdown text.

    A backslash at the end of a line continues it.
    """
    found, fenced = [], False
    for line in text.replace("\\\n", " ").splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif (fenced or line.startswith("    ")) and line.split()[:1] == [program]:
            found.append(shlex.split(line, comments=True)[1:])
    return found


def run_command(arguments: list[str], folder: Path) -> None:
    """Carry out `rcframe run` with these arguments into `folder`; AssertionError with its output if it fails."""
    from click.testing import CliRunner

    from rcframe.cli import cli

    done = CliRunner().invoke(cli, [*arguments, "--out", str(folder)])
    assert done.exit_code == 0, done.output or repr(done.exception)
    assert (folder / "report.json").is_file(), done.output

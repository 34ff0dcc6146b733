from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import rich_click as click

import rcframe
from rcframe.cli import cli as commands
from rcframe.errors import AccessDenied, CheckFailed, PluginError, RcframeError, RequestError, RunFailed
from rcframe.session.stopping import Interrupted

if TYPE_CHECKING:
    from tests.conftest import Command, Install


def walk(group: click.Group, path: str = "rcframe") -> Iterator[tuple[str, click.Command]]:
    """Every command below a group, with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from walk(command, f"{path} {name}")


OURS = dict(walk(commands))
OPTIONS = {
    f"{path} {option.opts[0]}": option
    for path, command in OURS.items()
    for option in command.params
    if isinstance(option, click.Option)
}


def is_sentence(text: str | None) -> bool:
    return bool(text) and str(text)[0].isupper() and str(text).rstrip().endswith((".", ")"))


def test_there_is_a_command_for_everything_one_does() -> None:
    assert set(OURS) >= {
        f"rcframe {name}"
        for name in ("run", "plugins", "info", "check", "new", "data", "data list", "data show", "import-weights")
    }


@pytest.mark.parametrize("path", OURS)
def test_every_command_says_what_it_does(path: str) -> None:
    assert is_sentence(OURS[path].help)
    assert is_sentence(OURS[path].get_short_help_str(limit=200))


@pytest.mark.parametrize("path", OPTIONS)
def test_every_option_says_what_it_does(path: str) -> None:
    text = str(OPTIONS[path].help)
    assert text[0].isupper() or text.startswith("auto ")
    assert text.endswith(".")


def test_every_setting_of_a_run_is_an_option() -> None:
    from rcframe.session.config import SETTINGS

    known = {path.removeprefix("rcframe run ") for path in OPTIONS if path.startswith("rcframe run ")}
    assert {f"--{name.replace('_', '-')}" for name in SETTINGS} <= known


# -- without torch, with many plugins ---------------------------------------------------------------------------------

LISTINGS: dict[str, tuple[list[str], dict[str, str], str]] = {
    "help": (["--help"], {}, "Combine any teacher, student, pruner"),
    "short help": (["-h"], {}, "Combine any teacher, student, pruner"),
    "version": (["--version"], {}, f"rcframe {rcframe.__version__}\n"),
    "plugins": (["plugins"], {}, "still-29"),
    "plugins as JSON": (["plugins", "--json"], {}, '"name": "still-29"'),
    "help of run": (["run", "--help"], {}, "--certifier"),
    "help of new": (["new", "--help"], {}, "teacher"),
    "data sets": (["data", "list"], {}, "glyphs"),
    "completion script": ([], {"_RCFRAME_COMPLETE": "bash_source"}, "_RCFRAME_COMPLETE=bash_complete"),
    "completion of commands": (
        [],
        {"_RCFRAME_COMPLETE": "bash_complete", "COMP_WORDS": "rcframe pl", "COMP_CWORD": "1"},
        "plain,plugins\n",
    ),
    "completion of names": (
        [],
        {"_RCFRAME_COMPLETE": "bash_complete", "COMP_WORDS": "rcframe run --attack still-2", "COMP_CWORD": "3"},
        "plain,still-2\nplain,still-20\n",
    ),
}


@pytest.mark.parametrize(("arguments", "environment", "printed"), LISTINGS.values(), ids=LISTINGS)
def test_listings_import_no_torch_with_all_plugins_and_thirty_more(
    arguments: list[str], environment: dict[str, str], printed: str, install: Install, shell: Command
) -> None:
    for number in range(30):
        spec = {"kind": "attack", "name": f"still-{number}", "target": "acme_parts:Still", "summary": "Does nothing."}
        install(f"acme-{number}", [spec])
    outcome = shell(*arguments, **environment)
    assert (outcome.code, outcome.err) == (0, "without torch\n")
    assert printed in outcome.out


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "rcframe", "--version"], check=True, capture_output=True, text=True)
    assert done.stdout == f"rcframe {rcframe.__version__}\n"


# -- plugins that fail, plugins that add ------------------------------------------------------------------------------

HELLO = """
import click

@hookimpl
def rcframe_commands(group):
    @group.command("hello", help="Says hello.")
    def hello():
        click.echo("hello!")
    {then}
"""


@pytest.mark.parametrize("source", ["import rcframe_no_such_module", "raise SystemExit(7)", "def broken(:"])
def test_a_broken_plugin_does_not_hurt_help_and_is_listed_with_its_error(
    source: str, install: Install, shell: Command
) -> None:
    install("acme-bad", source=source, version="0.7")
    for argument in ("--help", "--version"):
        outcome = shell(argument)
        assert (outcome.code, outcome.err) == (0, "without torch\n")
    listed = shell("plugins")
    assert listed.code == 0
    assert "broken acme-bad 0.7: " in listed.out


def test_a_plugin_adds_a_command(install: Install, shell: Command) -> None:
    install("acme-hello", body=HELLO.format(then=""))
    assert "Says hello." in shell("--help").out
    assert shell("hello").out == "hello!\n"


def test_a_plugin_that_fails_to_add_a_command_does_not_hurt_help(install: Install, shell: Command) -> None:
    install("acme-hello", body=HELLO.format(then="raise ValueError('no luck')"))
    outcome = shell("--help")
    assert (outcome.code, outcome.err) == (0, "without torch\n")
    assert "hello" not in outcome.out
    missing = shell("hello")
    assert missing.code == 2
    assert "No such command" in missing.err


def test_our_commands_ask_no_plugin_for_commands(install: Install, shell: Command) -> None:
    install("acme-hello", body=HELLO.format(then="raise AssertionError"))
    listed = shell("plugins")
    assert "adds commands acme-hello 1.0" in listed.out
    assert "broken" not in listed.out
    assert listed.code == 0


def test_strictness_ends_with_the_sentence_about_the_plugin(install: Install, shell: Command) -> None:
    install("acme-bad", source="raise SystemExit(0)")
    outcome = shell("plugins", RCFRAME_STRICT="1")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "Error: Plugin `acme-bad` cannot be used: SystemExit: 0.\nwithout torch\n"


# -- how it ends ------------------------------------------------------------------------------------------------------


@pytest.fixture
def ends_with(cli: Command, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Run a command that raises an error; return the exit code and what stands on stderr."""

    def end(error: BaseException, **environment: str) -> tuple[int, str]:
        def fail() -> None:
            raise error

        monkeypatch.setitem(commands.commands, "fail", click.RichCommand(name="fail", callback=fail))
        outcome = cli("fail", **environment)
        assert outcome.out == ""
        return outcome.code, outcome.err

    return end


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RunFailed, 1),
        (AccessDenied, 1),
        (RcframeError, 1),
        (RequestError, 2),
        (PluginError, 2),
        (CheckFailed, 3),
        (Interrupted, 130),
    ],
)
def test_our_errors_end_with_their_sentence_and_code(
    error: type[RcframeError], code: int, ends_with: Callable[..., tuple[int, str]]
) -> None:
    long = "One [bold]long[/] sentence, with `quotes` and [/brackets], " + "that goes on and on " * 20 + "to its end."
    assert ends_with(error(long)) == (code, f"Error: {long}\n")


def test_control_characters_are_spelt_out_so_that_no_name_redraws_the_terminal(
    ends_with: Callable[..., tuple[int, str]],
) -> None:
    error = RequestError("No file `\x1b[2J\r\x07\u202egnp.exe`:\nit is \u00fcber `\udcff`.")
    assert ends_with(error)[1] == "Error: No file `\\x1b[2J\\r\\x07\\u202egnp.exe`:\nit is \u00fcber `\\udcff`.\n"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_has_its_own_code(error: BaseException, ends_with: Callable[..., tuple[int, str]]) -> None:
    code, err = ends_with(error)
    assert code == 130
    assert err.strip() == "Error: Interrupted."


def test_what_was_noted_on_the_way_stands_below_the_error_once(ends_with: Callable[..., tuple[int, str]]) -> None:
    for error in (RunFailed("No luck."), Interrupted("Stopped in `train`."), OSError(28, "No space left", "file")):
        error.add_note("Go on with: rcframe run --resume here")
        error.add_note("Go on with: rcframe run --resume here")
        code, err = ends_with(error)
        assert err.splitlines()[1:] == ["Go on with: rcframe run --resume here"]
        assert code == (130 if isinstance(error, Interrupted) else 1)


def test_an_interrupt_keeps_what_was_noted(ends_with: Callable[..., tuple[int, str]]) -> None:
    error = KeyboardInterrupt()
    error.add_note("Go on with: rcframe run --resume here")
    code, err = ends_with(error)
    assert code == 130
    assert err.strip().splitlines() == ["Error: Interrupted.", "Go on with: rcframe run --resume here"]


def test_a_bug_is_one_sentence_with_the_place_unless_the_traceback_is_asked_for(
    ends_with: Callable[..., tuple[int, str]],
) -> None:
    code, err = ends_with(ValueError("two\nlines"))
    assert code == 1
    assert err.count("\n") == 1
    assert err.startswith(f"Error: ValueError in {__file__}, line ")
    assert ": two. This is a bug of rcframe, of a plugin, or of your model; set RCFRAME_DEBUG=1" in err
    code, err = ends_with(ValueError(), RCFRAME_DEBUG="1")
    assert code == 1
    assert "Traceback (most recent call last)" in err
    assert "no message" in err


@pytest.mark.parametrize("arguments", [["rnu"], ["run", "--attak", "pgd"], ["run", "a.toml", "b.toml"], ["info", "x"]])
def test_what_the_command_line_cannot_read_ends_with_code_2(arguments: list[str], cli: Command) -> None:
    outcome = cli(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert "Usage: rcframe" in outcome.err
    assert "Traceback" not in outcome.err


def test_a_reader_that_stops_reading_causes_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "rcframe", "plugins", "--json"], check=False, stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")

"""The command line. Bodies of commands import what they need, so that `--help` stays fast and free of torch."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence

import rich_click as click
from rich.console import Console

from rcframe import __version__
from rcframe.cli.check import check
from rcframe.cli.data import data
from rcframe.cli.new import new
from rcframe.cli.plugins import info, plugins
from rcframe.cli.run import run
from rcframe.errors import RcframeError

INTERRUPTED = 130


class PluginGroup(click.RichGroup):
    """A group to which plugins add commands; they are asked when the commands are first needed."""

    _asked = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List our commands and those of plugins."""
        self._ask_plugins()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Find a command; plugins are only loaded for names that are not ours."""
        if cmd_name not in self.commands:
            self._ask_plugins()
        return super().get_command(ctx, cmd_name)

    def _ask_plugins(self) -> None:
        if not self._asked:
            self._asked = True
            from rcframe.registry import registry

            registry().add_commands(self)


@click.group(cls=PluginGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="rcframe", message="rcframe %(version)s")
def cli() -> None:
    """What does compressing a neural network do to its accuracy, robustness, certificate and secrecy?

    Combine any teacher, student, pruner, neuron, attack and certifier in one run. Start with
    `rcframe run --teacher plain --student plain`, and see `rcframe plugins` for what is installed.
    """


for _command in (run, plugins, info, check, new, data):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong request, 3 a check did not hold, 130 interrupted."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    # Runs record the command that repeats them.
    command = shlex.join(["rcframe", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        result = cli.main(
            arguments, prog_name="rcframe", standalone_mode=False, auto_envvar_prefix="RCFRAME", obj=command
        )
        return result if isinstance(result, int) else 0
    except RcframeError as error:
        _complain(str(error))
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C must not change the exit code
        _complain("Interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _complain(f"{error.strerror or error}{f': `{error.filename}`' if error.filename else ''}.")
        return 1
    except Exception as error:
        if os.environ.get("RCFRAME_DEBUG") == "1":
            traceback.print_exc()
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error).strip().splitlines()
        _complain(
            f"{type(error).__name__} in {place.filename}, line {place.lineno}: {text[0] if text else 'no message'}. "
            f"This is a bug of rcframe or of a plugin; set RCFRAME_DEBUG=1 to see the whole traceback."
        )
        return 1


def _complain(text: str) -> None:
    console = Console(stderr=True, highlight=False)
    console.print("[bold red]Error:[/] ", end="")
    console.print(text, markup=False, soft_wrap=True)

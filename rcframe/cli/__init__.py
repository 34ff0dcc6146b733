"""The command line. Bodies of commands import what they need, so that `--help` stays fast and free of torch."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Sequence

import rich_click as click
from rich.console import Console

from rcframe import __version__
from rcframe.cli.cache import cache
from rcframe.cli.check import check
from rcframe.cli.compare import compare
from rcframe.cli.data import data
from rcframe.cli.import_weights import import_weights
from rcframe.cli.matrix import matrix
from rcframe.cli.new import new
from rcframe.cli.origin import origin
from rcframe.cli.plugins import info, plugins
from rcframe.cli.report import report
from rcframe.cli.reproduce import reproduce
from rcframe.cli.run import run
from rcframe.cli.watch import watch
from rcframe.errors import RcframeError
from rcframe.visible import visible

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


for _command in (
    run,
    matrix,
    reproduce,
    report,
    compare,
    plugins,
    info,
    check,
    new,
    data,
    import_weights,
    cache,
    watch,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong request, 3 a check did not hold, 130 interrupted."""
    _lend_streams()
    sys.exit(_exit_code(arguments))


def _lend_streams() -> None:
    """Give standard streams that lead nowhere to a process that was started without.

    Else the first files that it opens would take their places, and what is printed would end up in them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  # open to the end


def _exit_code(arguments: Sequence[str] | None) -> int:
    # Runs record the command that repeats them.
    command = shlex.join(["rcframe", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        result = cli.main(
            arguments, prog_name="rcframe", standalone_mode=False, auto_envvar_prefix="RCFRAME", obj=command
        )
        return result if isinstance(result, int) else 0
    except RcframeError as error:
        if error.exit_code == INTERRUPTED:
            _ignore_interrupts()
        _complain(str(error), error)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (KeyboardInterrupt, click.Abort) as error:
        _ignore_interrupts()
        _complain("Interrupted.", error)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _complain(f"{error.strerror or error}{f': `{error.filename}`' if error.filename else ''}.", error)
        return 1
    except Exception as error:
        if os.environ.get("RCFRAME_DEBUG") == "1":
            traceback.print_exc()
        _complain(_unexpected(error), error)
        return 1


def _ignore_interrupts() -> None:
    """Let an impatient second Ctrl-C not change how an interrupted command ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _unexpected(error: Exception) -> str:
    """Say what is known of an error that nobody expected."""
    from rcframe.registry import registry

    text = str(error).strip().splitlines()
    what = text[0].rstrip(".") if text else "no message"
    if _lacks_memory(error):
        return f"Out of memory ({what}). Free some, choose a smaller model or data set, or another --device."
    place = origin(error, (plugin.module.partition(".")[0] for plugin in registry().plugins))
    return (
        f"{type(error).__name__} in {place.file}, line {place.line}: {what}. "
        f"This is a bug of rcframe, of a plugin, or of your model; set RCFRAME_DEBUG=1 to see the whole traceback."
    )


def _lacks_memory(error: Exception) -> bool:
    if "torch" not in sys.modules:
        return isinstance(error, MemoryError)
    from rcframe.training.memory import out_of_memory

    return out_of_memory(error)


def _complain(text: str, error: BaseException) -> None:
    """Print what went wrong, and what was noted on the way about how to go on."""
    console = Console(stderr=True, highlight=False, emoji=False)
    # Ctrl-C reaches every process of a pipeline: nobody may be left to read this, for which `rich` would exit with 1.
    with contextlib.suppress(OSError, SystemExit):
        console.print("[bold red]Error:[/] ", end="")
        for line in [text, *_notes(error)]:
            console.print(visible(line), markup=False, soft_wrap=True)


def _notes(error: BaseException) -> list[str]:
    # Click puts an exception of its own in front of a KeyboardInterrupt.
    behind = error.__cause__ or error.__context__
    causes = [error, *([behind] if behind else [])]
    return list(dict.fromkeys(note for cause in causes for note in getattr(cause, "__notes__", ())))

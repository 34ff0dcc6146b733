"""`rcframe run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from rcframe.cli.kinds import ComponentType

if TYPE_CHECKING:
    from rcframe.session.conduct import Outcome


#: What may be said beside `--resume`.
_WITH_RESUME = ("config", "resume", "despite_changes", "no_cache", "style", "quiet")


@click.command(context_settings={"show_default": False})
@click.option_panel(
    "What to combine",
    options=[
        "--data",
        "--model",
        "--student-model",
        "--teacher",
        "--student",
        "--pruner",
        "--neuron",
        "--attack",
        "--certifier",
    ],
)
@click.option_panel(
    "What is allowed, and what is measured",
    options=["--access", "--budget", "--eps", "--norm", "--eval-size", "--radii"],
)
@click.option_panel("Chance", options=["--seed", "--seeds", "--deterministic"])
@click.option_panel("Machine", options=["--device", "--precision", "--threads", "--workers", "--data-root"])
@click.option_panel(
    "Going on and sharing", options=["--resume", "--continue", "--despite-changes", "--checkpoint", "--no-cache"]
)
@click.option_panel("Output", options=["--out", "--format", "--quiet", "--help"])
@click.argument("config", required=False, type=click.Path(path_type=Path))
@click.option("--data", type=ComponentType("data"), help="Data set (default digits).")
@click.option("--model", type=ComponentType("model"), help="Network of the teacher (default convnet).")
@click.option("--student-model", type=ComponentType("model"), help="Network of the student (default: as --model).")
@click.option("--teacher", type=ComponentType("teacher"), help="How the teacher comes about (default plain).")
@click.option(
    "--student",
    multiple=True,
    type=ComponentType("student"),
    help="How the student learns (default plain); given again, another phase of the same student.",
)
@click.option(
    "--pruner",
    multiple=True,
    type=ComponentType("pruner"),
    help="How the student is made smaller; given again, in that order.",
)
@click.option("--neuron", type=ComponentType("neuron"), help="Spiking neurons instead of the student's ReLUs.")
@click.option("--access", help="What the teacher's owner grants: none, hard, soft, logit (default), grey or white.")
@click.option("--budget", type=int, help="Most images the student may send to the teacher.")
@click.option(
    "--attack",
    multiple=True,
    type=ComponentType("attack"),
    help="Attack on teacher and student; give several to get their worst case.",
)
@click.option(
    "--certifier", multiple=True, type=ComponentType("certifier"), help="Certifier of both; may be given several times."
)
@click.option(
    "--eps",
    help="Radius of attacks and certificates in pixels, such as 8/255 (default: the data set's). Several make a curve: "
    "0,0.01,8/255 or from:to:step, such as 0:0.1:0.005.",
)
@click.option("--norm", type=click.Choice(["linf", "l2"]), help="Norm of the radius (default linf).")
@click.option("--eval-size", type=int, help="Test images to measure on (default 0: all).")
@click.option("--radii", type=int, help="Test images whose certified radius is searched (default 0).")
@click.option("--seed", type=int, help="Fixes everything random (default 0).")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1 or mps.")
@click.option("--precision", help="Of training: fp32 (default), bf16, or fp16 on CUDA; measuring is always in fp32.")
@click.option("--deterministic", is_flag=True, default=None, help="Refuse operations that cannot repeat exactly.")
@click.option("--seeds", type=int, help="Repeat with so many seeds; report means, spreads and intervals (default 1).")
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads (default: 1 for small images).")
@click.option("--data-root", help="Folder of the data files (default: RCFRAME_DATA, else the platform's data folder).")
@click.option("--workers", type=int, help="Processes that read training images ahead (default 0).")
@click.option("--checkpoint", type=float, help="Seconds of work between checkpoints (default 5; 0: every batch).")
@click.option("--no-cache", is_flag=True, help="Compute everything, and share nothing with other runs.")
@click.option(
    "--continue",
    "go_on",
    is_flag=True,
    help="With --out: go on with the run if the folder holds it already, else start it.",
)
@click.option(
    "--resume", type=click.Path(path_type=Path), help="Go on with the run in this folder, as if it had not stopped."
)
@click.option("--despite-changes", is_flag=True, help="With --resume: go on although code or data have changed.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write (default: a fresh one below runs/).")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", help="Form of the result.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors, and the JSON if asked for.")
@click.pass_obj
def run(
    command: str | None,
    /,
    config: Path | None,
    out: Path | None,
    go_on: bool,
    resume: Path | None,
    no_cache: bool,
    despite_changes: bool,
    style: str,
    quiet: bool,
    **settings: object,
) -> None:
    """Train a teacher and a student, then attack and certify both.

    Components are picked by spec strings: `name`, or `name:option=value,option=value`. CONFIG is a run.toml, such as
    every run writes; flags are stronger. A run that was stopped goes on with `--resume FOLDER`.
    """
    from rcframe.session.stopping import Stop, uninterrupted

    with uninterrupted():
        from rcframe.session.conduct import Conductor
        from rcframe.session.config import config_of, make_config, read_config
        from rcframe.session.progress import make_display
        from rcframe.storage.cache import default_cache

    stop = Stop()
    conductor = Conductor(
        display=make_display(quiet),
        cache=None if no_cache else default_cache(),
        stop=stop,
        despite_changes=despite_changes,
    )
    given = {name: value for name, value in settings.items() if value is not None and value != ()}
    if go_on and not out:
        raise click.UsageError("--continue needs --out, the folder of the run.")
    with stop.listening():
        if resume:
            _refuse_settings(config)
            outcome = conductor.resume(resume)
        else:
            asked = make_config(given, config_of(read_config(config)) if config else None)
            words = command or "rcframe run"
            if go_on and out:
                outcome = conductor.start_or_resume(asked, words, out)
            else:
                outcome = conductor.start(asked, words, out, fresh=True)
    if outcome.is_main:
        _show(outcome, style, quiet)


def _refuse_settings(config: Path | None) -> None:
    """A run that goes on takes its settings from its folder: other ones would make it another run.

    What stands in the environment is not meant for this run in particular and is passed over.
    """
    from click import get_current_context
    from click.core import ParameterSource

    from rcframe.errors import RequestError, listed

    context = get_current_context()
    typed = [name for name in context.params if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    flags = {known.name: known.opts[0] for known in context.command.params}
    names = [flags[name] for name in typed if name not in _WITH_RESUME]
    names += [f"`{config}`"] if config else []
    if names:
        raise RequestError(f"A resumed run keeps the settings it was started with: leave out {listed(names)}.")


def _show(outcome: Outcome, style: str, quiet: bool) -> None:
    if style == "json":
        click.echo(outcome.result.to_json(), nl=False)
        return
    if quiet:
        return
    from rich.console import Console

    console = Console()
    console.print(outcome.result)
    console.print(f"Written to {outcome.folder}", highlight=False, soft_wrap=True)

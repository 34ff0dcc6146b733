"""`rcframe run`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from rcframe.cli.kinds import ComponentType


@click.command(context_settings={"show_default": False})
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
@click.option("--attack", multiple=True, type=ComponentType("attack"), help="Attack on teacher and student.")
@click.option("--certifier", multiple=True, type=ComponentType("certifier"), help="Certifier of both.")
@click.option("--eps", help="Radius of attacks and certificates in pixels, such as 8/255 (default: the data set's).")
@click.option("--norm", type=click.Choice(["linf", "l2"]), help="Norm of the radius (default linf).")
@click.option("--eval-size", type=int, help="Test images to measure on (default 0: all).")
@click.option("--seed", type=int, help="Fixes everything random (default 0).")
@click.option("--device", help="auto (default), cpu, cuda, cuda:1 or mps.")
@click.option("--threads", type=click.IntRange(min=1), help="Processor threads (default: 1 for small images).")
@click.option("--data-root", help="Folder of the data files (default: RCFRAME_DATA, else the platform's data folder).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write (default: a fresh one below runs/).")
@click.option("--format", "style", type=click.Choice(["table", "json"]), default="table", help="Form of the result.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors, and the JSON if asked for.")
@click.pass_obj
def run(
    command: str | None, /, config: Path | None, out: Path | None, style: str, quiet: bool, **settings: object
) -> None:
    """Train a teacher and a student, then attack and certify both.

    Components are picked by spec strings: `name`, or `name:option=value,option=value`. CONFIG is a run.toml, such as
    every run writes; flags are stronger.
    """
    from rcframe.session.config import make_config, read_config
    from rcframe.session.folder import create_folder, fresh_folder
    from rcframe.session.progress import make_display
    from rcframe.session.session import carry_out, prepare_session

    base = make_config(read_config(config)) if config else None
    given = {name: value for name, value in settings.items() if value is not None and value != ()}
    session = prepare_session(make_config(given, base), command or "rcframe run")
    folder = create_folder(out) if out else fresh_folder(session.config)
    report = carry_out(session, make_display(quiet), folder)
    if style == "json":
        click.echo(report.to_json(), nl=False)
        return
    if quiet:
        return
    from rich.console import Console

    console = Console()
    console.print(report)
    console.print(f"Written to {folder.path}", highlight=False, soft_wrap=True)

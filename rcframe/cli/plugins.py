"""`rcframe plugins` and `rcframe info`: what is installed, and what one component is."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import rich_click as click

from rcframe.api import KINDS

if TYPE_CHECKING:
    from rich.table import Table

    from rcframe.api import Component
    from rcframe.registry import Plugin

_BULLETS = ("* ", "- ")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def plugins(as_json: bool) -> None:
    """List the installed plugins and their components, broken ones with the reason."""
    from rcframe.registry import registry

    found = registry().plugins
    if as_json:
        click.echo(json.dumps([_as_json(plugin) for plugin in found], indent=2))
        return
    _print_tables(found)


def _as_json(plugin: Plugin) -> dict[str, object]:
    components = [{"kind": s.kind, "name": s.name, "summary": s.summary} for s in plugin.specs]
    return {
        "name": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "error": plugin.error,
        "components": components,
        "hooks": list(plugin.hooks),
    }


def _print_tables(found: list[Plugin]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(emoji=False)
    table = Table(title="Components")
    for heading in ("kind", "name", "what it is", "from"):
        table.add_column(heading, overflow="fold")
    for kind in KINDS:
        for plugin in found:
            for spec in plugin.specs:
                if spec.kind == kind:
                    origin = f"{plugin.distribution} {plugin.version}"
                    table.add_row(kind, spec.name, escape(spec.summary), origin)
        table.add_section()
    console.print(table)
    for plugin in found:
        if plugin.error:
            console.print(f"[bold red]broken[/] {plugin.distribution} {plugin.version}: {escape(plugin.error)}")
        elif acts := _acts(plugin):
            console.print(f"[bold]{acts}[/] {plugin.distribution} {plugin.version}")


def _acts(plugin: Plugin) -> str:
    """Say what a plugin does by being installed, without anybody choosing it."""
    acts = ["watches runs"] if plugin.watches else []
    acts += ["adds commands"] if "rcframe_commands" in plugin.hooks else []
    acts += ["repeats published tables"] if "rcframe_recipes" in plugin.hooks else []
    return " and ".join(acts)


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
def info(kind: str, name: str) -> None:
    """Describe one component: its source, needs and options."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rcframe.choice import parse_choice
    from rcframe.options import options_of, presets_of, to_text
    from rcframe.registry import registry

    choice = parse_choice(name, kind)
    found, cls = registry().find(kind, choice), registry().load(kind, choice)
    console = Console(highlight=False, emoji=False)
    console.print(f"[bold]{kind} {choice.name}[/] from {found.distribution} {found.version}")
    for paragraph in inspect.cleandoc(cls.__doc__ or found.spec.summary).split("\n\n"):
        console.print(escape(_wrapped(paragraph, console.width)), end="\n\n", soft_wrap=True)
    for line in _needs(cls, choice.name):
        console.print(_wrapped(line, console.width), soft_wrap=True)
    table = Table(title="Options")
    for heading in ("option", "default", "allowed", "meaning"):
        table.add_column(heading, overflow="fold")
    for option in options_of(cls):
        table.add_row(option.name, to_text(option.default), escape(option.allowed), escape(option.help))
    console.print(table)
    if presets := presets_of(cls):
        console.print(_preset_table(presets))
        ready = f"Choose one as in `{choice.name}:preset={next(iter(presets))}`; options given beside it win."
        console.print(_wrapped(ready, console.width), soft_wrap=True)
    first = next((option.name for option in options_of(cls)), None)
    if first:
        ways = f"Set them as in `{choice.name}:{first}=...`, by keyword in Python, or in a run.toml table."
        console.print(_wrapped(ways, console.width), soft_wrap=True)


def _wrapped(paragraph: str, width: int) -> str:
    """Break a paragraph for a terminal, wherever its source was broken; further lines of a list's item are indented."""
    from textwrap import fill

    if paragraph.startswith(" "):
        # Code and drawings mean something by their lines.
        return paragraph
    items: list[str] = []
    for line in paragraph.splitlines():
        if items and not line.startswith(_BULLETS):
            items[-1] += f" {line.strip()}"
        else:
            items.append(line)
    indents = ["  " if item.startswith(_BULLETS) else "" for item in items]
    whole = [
        fill(item, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for item, indent in zip(items, indents, strict=True)
    ]
    return "\n".join(whole)


def _preset_table(presets: Mapping[str, Mapping[str, object]]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    from rcframe.choice import Choice, format_choice

    table = Table(title="Presets")
    for heading in ("preset", "stands for"):
        table.add_column(heading, overflow="fold")
    for name, values in presets.items():
        # A blank after each option, which a spec string may have, lets a narrow terminal break between them.
        options = (format_choice(Choice(name, {option: value})).partition(":")[2] for option, value in values.items())
        table.add_row(name, escape(", ".join(options)))
    return table


def _needs(cls: type[Component], name: str) -> list[str]:
    """Say what a component asks of the teacher, the data, or the threat."""
    from rcframe.access import describe_access
    from rcframe.api import Attack, Certifier, Data, DataSource, StudentStrategy
    from rcframe.wrapping import WrappingAttack

    lines = []
    if issubclass(cls, StudentStrategy):
        words = {Data.NONE: "no data", Data.INPUTS: "images without labels", Data.LABELLED: "labelled images"}
        lines = [f"Needs from the teacher: {describe_access(cls.access)}.", f"Reads: {words[cls.data]}."]
    elif issubclass(cls, WrappingAttack):
        lines = ["Needs what the attack inside needs."]
    elif issubclass(cls, Attack):
        lines = [f"Needs from the model: {describe_access(cls.access)}.", f"Norms: {', '.join(cls.norms)}."]
    elif issubclass(cls, Certifier):
        usable = "can" if cls.differentiable else "cannot"
        lines = [f"Norms: {', '.join(cls.norms)}.", f"Its bounds {usable} be trained on."]
    elif issubclass(cls, DataSource):
        lines = [f"Classes, images and customary eps: rcframe data show {name}."]
    return lines

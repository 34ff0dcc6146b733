"""The hooks of rcframe: what a plugin module may implement with `@rcframe.hookimpl`, each with any of its arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pluggy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

    import click

    from rcframe.session.report import Report
    from rcframe.session.session import Session

hookspec = pluggy.HookspecMarker("rcframe")
#: Marks the functions of a plugin module that implement hooks.
hookimpl = pluggy.HookimplMarker("rcframe")


@attrs.frozen(kw_only=True)
class Spec:
    """One component as a plugin announces it; nothing is imported until somebody chooses it."""

    #: One of `rcframe.KINDS`.
    kind: str
    #: Lower-case name with hyphens.
    name: str
    #: Where the class is, as `package.module:Class`.
    target: str
    #: One sentence for listings.
    summary: str
    #: Major version of the plugin interface this was written for.
    api: int = 1


@hookspec
def rcframe_components() -> list[Spec]:  # type: ignore[empty-body]
    """Return the components of this plugin. Called once, before any torch import. Added in API 1.0."""


@hookspec
def rcframe_recipes() -> list[Traversable]:  # type: ignore[empty-body]
    """Return the TOML files of the published tables that this plugin repeats, as `importlib.resources` finds them.

    The name of a file, without its ending, is the name of the table. Added in API 1.2.
    """


@hookspec
def rcframe_commands(group: click.Group) -> None:
    """Add commands of one's own to the command line. Added in API 1.0."""


@hookspec
def rcframe_run_started(session: Session, folder: Path | None) -> None:
    """Observe a run that is about to start or to go on. Must not change it.

    `folder` is where the run writes, None if it writes nothing; it came with API 1.1. Added in API 1.0.
    """


@hookspec
def rcframe_epoch_done(session: Session, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
    """Observe the end of an epoch and the means of its metrics. Must not change them.

    Epochs of a stage are counted from 1; a resumed run may repeat some. Called while training waits. Added in API 1.1.
    """


@hookspec
def rcframe_run_finished(session: Session, report: Report) -> None:
    """Observe a finished run and its report. Must not change them. Added in API 1.0."""


@hookspec
def rcframe_run_stopped(session: Session, reason: str) -> None:
    """Observe a run that ended without a report, failed or interrupted. Added in API 1.1."""

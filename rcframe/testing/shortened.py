"""Recipes in so short a form that every test run can carry them out: they show that all fits, and no claim."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from rcframe.api import Component
from rcframe.choice import Choice, format_choice, parse_choice
from rcframe.experiments.matrix import MatrixFolder
from rcframe.experiments.plan import Plan, PlannedRun
from rcframe.findings.folders import Collection, collect
from rcframe.findings.records import MatrixRecord, RowRecord, write_matrix
from rcframe.options import options_of, values_of
from rcframe.registry import registry
from rcframe.session.conduct import Conductor
from rcframe.session.config import RunConfig
from rcframe.storage.cache import Cache

#: Test images that are measured.
_IMAGES = 50


def shortened(plan: Plan) -> Plan:
    """Return a plan whose runs train for an epoch where they would for several, and measure few images."""
    return attrs.evolve(plan, runs=tuple(attrs.evolve(run, config=_shortened(run)) for run in plan.runs))


def carry_out_here(plan: Plan, place: Path) -> Collection:
    """Carry out a plan in this process, one run after the other, or go on with it; return what it found."""
    folder, conductor = MatrixFolder(place), Conductor(cache=Cache(place / "cache"))
    rows = []
    for run in plan.runs:
        path = folder.run(run).path
        conductor.start_or_resume(run.config, "rcframe check", path)
        inner = str(path.relative_to(place))
        rows.append(RowRecord(name=run.name, labels=run.labels, seed=run.config.seed, folder=inner, status="done"))
    write_matrix(place, MatrixRecord(title=plan.title, command="rcframe check", axes=plan.axes, rows=tuple(rows)))
    return collect([place])


def _shortened(run: PlannedRun) -> RunConfig:
    config, parts = run.config, run.parts
    return attrs.evolve(
        config,
        teacher=_short(config.teacher, parts.teacher),
        students=_all_short(config.students, parts.students),
        pruners=_all_short(config.pruners, parts.pruners),
        attacks=_all_short(config.attacks, parts.attacks),
        eval_size=_IMAGES,
        device="cpu",
    )


def _all_short(choices: Sequence[Choice], built: Sequence[Component]) -> tuple[Choice, ...]:
    return tuple(_short(choice, component) for choice, component in zip(choices, built, strict=True))


def _short(choice: Choice, built: Component) -> Choice:
    """Let a component train for one epoch at most; it keeps its name, by which its figures are found."""
    names = [name for name in values_of(built) if name in ("epochs", "finetune") or name.endswith("_epochs")]
    # What is left to a default, such as that of another option, stays so.
    short: dict[str, object] = {name: 1 for name in names if (getattr(built, name) or 0) > 1}
    short |= dict(_short_inside(built))
    return attrs.evolve(choice, options={**_spelled(choice, built), **short}) if short else choice


def _short_inside(built: Component) -> Iterator[tuple[str, str]]:
    """Yield the methods that an option names and that train too, such as the teacher behind a defence."""
    for kind in ("teacher", "student"):
        spec = values_of(built).get(kind)
        if isinstance(spec, str) and spec:
            inside = parse_choice(spec, kind)
            yield kind, format_choice(_short(inside, registry().make(kind, inside)))


def _spelled(choice: Choice, built: Component) -> Mapping[str, object]:
    """Return the given options, one without a name by the name that it has."""
    own = next((option.name for option in options_of(type(built)) if option.positional), "")
    return {name or own: value for name, value in choice.options.items()}

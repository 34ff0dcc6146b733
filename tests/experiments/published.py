"""Dry runs of the full scale of recipes: rows on small files in the published layouts, for an epoch each."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from rcframe.choice import Choice, format_choice, parse_choice
from rcframe.experiments.plan import PlannedRun, make_plan
from rcframe.experiments.recipe import find_recipe
from rcframe.findings.folders import Collection as Found
from rcframe.testing.shortened import carry_out_here, shortened
from tests.data.published_files import write_cifar10, write_cifar100, write_tiny_imagenet

#: Factor on the channels of every network: rows are about how parts fit, and stay cheap.
NARROW = 0.125
#: Options of teachers that name a further network.
_NETWORKS = ("adversary", "model")


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with CIFAR-10, CIFAR-100 and Tiny-ImageNet in small."""
    root = tmp_path_factory.mktemp("data")
    write_cifar10(root, 3)
    write_cifar100(root, 12)
    write_tiny_imagenet(root, 12)
    return root


def full_rows(name: str) -> tuple[PlannedRun, ...]:
    """The runs of a recipe's full scale, one seed of each."""
    return make_plan(find_recipe(name).scales["full"], seeds=1).runs


def covering(runs: Sequence[PlannedRun]) -> list[str]:
    """Names of rows in which every data set, teacher, way to learn and network of all rows occurs, in its role."""
    needed = {part for run in runs for part in _parts(run)}
    chosen = []
    while needed:
        best = max(runs, key=lambda run: len(needed & _parts(run)))
        chosen.append(best.name)
        needed -= _parts(best)
    return chosen


def dry_run(name: str, files: Path, place: Path, rows: Collection[str], width: float = NARROW) -> Found:
    """Carry out rows of the full scale of a recipe on `files`, with narrow networks; return what they found."""
    plan = shortened(make_plan(find_recipe(name).scales["full"], seeds=1))
    runs = tuple(_here(run, files, width) for run in plan.runs if run.name in rows)
    assert len(runs) == len(rows), f"`{name}` has the rows {[run.name for run in plan.runs]}"
    return carry_out_here(attrs.evolve(plan, runs=runs), place)


def _parts(run: PlannedRun) -> frozenset[tuple[str, str]]:
    config = run.config
    pupil = str(config.student_model or config.model)
    whole = {"data": str(config.data), "teacher": f"{config.teacher} {config.model}", "student": str(config.students)}
    return frozenset({*whole.items(), ("network", pupil)})


def _here(run: PlannedRun, files: Path, width: float) -> PlannedRun:
    config = run.config
    other = config.student_model and _narrow(config.student_model, width)
    teacher = attrs.evolve(config.teacher, options={**config.teacher.options, **dict(_inside(config.teacher, width))})
    changed = attrs.evolve(config, model=_narrow(config.model, width), student_model=other, teacher=teacher)
    return attrs.evolve(run, config=attrs.evolve(changed, data_root=str(files), threads=1))


def _narrow(model: Choice, width: float) -> Choice:
    return attrs.evolve(model, options={**model.options, "width": width}, text="")


def _inside(teacher: Choice, width: float) -> Iterator[tuple[str, str]]:
    for option in _NETWORKS:
        if isinstance(spec := teacher.options.get(option), str):
            yield option, format_choice(_narrow(parse_choice(spec, "model"), width))

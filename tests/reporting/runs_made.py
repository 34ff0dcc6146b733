"""Folders of runs with everything that a report can show."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import attrs
import numpy as np
import torch
from numpy.typing import NDArray

from rcframe.evaluation.activity import Encoding, LayerActivity
from rcframe.findings.folders import Collection, Group, collect
from rcframe.findings.records import (
    ClaimRecord,
    ComparisonRecord,
    PublishedRecord,
    ReproductionRecord,
    write_reproduction,
)
from rcframe.findings.statistics import Difference
from rcframe.findings.tables import Table
from rcframe.reporting.section import Exhibit, Section
from rcframe.session.evidence import About, Evidence, Role, write_evidence
from rcframe.session.layout import RunFiles
from tests.findings.folders_made import IMAGES, Made, falls, make_matrix, make_run, right, row
from tests.findings.outputs_made import answered, logits

CLASSES = ("air<plane>", "auto & mobile", "a class with a very long name indeed", "$x$")
PGD, CONVEX = "pgd:steps=5", "convex"
ROLES: tuple[Role, Role] = ("teacher", "student")


def measured(count: int, eps: str = "0.1", settings: Mapping[str, object] | None = None) -> Made:
    """A run that was attacked and certified."""
    both = (right(20), right(max(count - 10, 0)))
    return Made(student=right(count), attacked={PGD: both}, certified={CONVEX: both}, eps=eps, settings=settings or {})


#: The radii of `curved`.
RADII = ("0", "0.05", "0.1", "51/255")


def curved(settings: Mapping[str, object] | None = None) -> Made:
    """A run that was attacked twice at several radii, and counted class by class."""
    pgd = (falls(4, 0, 6, 8, 10, radii=RADII), falls(10, 0, 4, 6, 8, radii=RADII))
    weaker = (falls(4, 0, 2, 4, 6, radii=RADII), falls(10, 0, 1, 2, 3, radii=RADII))
    return Made(
        radii=RADII,
        breaking={PGD: pgd, "fgsm": weaker},
        truth=np.arange(IMAGES) % len(CLASSES),
        classes=CLASSES,
        settings=settings or {},
    )


def student(**options: object) -> dict[str, object]:
    """Settings of a student with options of its own."""
    spec = ",".join(f"{name}={value}" for name, value in options.items())
    return {"student": [{"name": "kd", **options}], "typed": {"teacher": ["plain"], "student": [f"kd:{spec}"]}}


def make_curves(path: Path, *, epochs: int = 12, stages: tuple[str, ...] = ("teacher/train", "student/train")) -> None:
    """Write training curves: loss 1/epoch, accuracy 1 - 1/(epoch + 1)."""
    lines = [
        {"stage": stage, "epoch": epoch, "seconds": 0.5, "loss": 1 / epoch, "accuracy": 1 - 1 / (epoch + 1)}
        for stage in stages
        for epoch in range(1, epochs + 1)
    ]
    RunFiles(path).metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))


def pictures(count: int = 4, seed: int = 0) -> NDArray[np.uint8]:
    """Pictures (count, 3, 8, 8)."""
    return np.random.default_rng(seed).integers(40, 200, (count, 3, 8, 8), np.uint8)


def rich_evidence(made: Made, *, seed: int = 0, spiking: bool = False) -> Evidence:
    """Evidence of every kind."""
    chance = np.random.default_rng(seed)
    shown = pictures()
    answers: dict[Role, NDArray[np.float32]] = {
        role: chance.normal(size=(4, len(CLASSES))).astype(np.float32) * 4 for role in ROLES
    }
    layers = tuple(LayerActivity(f"net.layer{n}", 100, 0.1 * n, 5000.0 * n, 9000.0 * n) for n in (1, 2, 3))
    return attrs.evolve(
        made.evidence,
        classes=CLASSES,
        pictures=shown,
        labels=np.arange(4),
        logits=answers,
        released=np.zeros((0, 0), np.float32) if made.released is None else -answers["teacher"],
        adversarial={About(role, PGD): (shown + 5).astype(np.uint8) for role in ROLES},
        radii={About(role, CONVEX): chance.uniform(0, 0.2, 40).astype(np.float32) for role in ROLES},
        spikes={"student": layers} if spiking else {},
        encodings={"student": Encoding(4, 1000.0)} if spiking else {},
    )


def make_rich(path: Path, made: Made, *, seed: int = 0, spiking: bool = False) -> Path:
    """Make a run that kept everything."""
    make_run(path, made)
    make_curves(path)
    write_evidence(RunFiles(path).evidence, rich_evidence(made, seed=seed, spiking=spiking))
    return path


def softly(settings: Mapping[str, object], *, guarded: bool = False, temperature: float = 4.0) -> Made:
    """A run that says what its outputs give away; its teacher, if guarded, releases its second class only."""
    teacher, output = logits(0), logits(1 + len(settings))
    second = teacher.argsort(dim=1, descending=True)[:, 1:2]
    sparse = torch.full_like(teacher, -torch.inf).scatter_(1, second, 1.0)
    made = Made(settings=settings, classes=CLASSES)
    labels = torch.arange(IMAGES) % len(CLASSES)
    known = teacher + 6 * torch.nn.functional.one_hot(labels, len(CLASSES))
    released = sparse if guarded else None
    return answered(made, known, output + known / 2, released=released, labels=labels, temperature=temperature)


def make_everything(path: Path) -> Path:
    """Make runs for which a report has every section."""
    for seed in (0, 1):
        for heat, count in ((1, 30), (2, 34), (4, 35), (8, 33)):
            made = attrs.evolve(measured(count - seed, settings=student(temperature=heat)), seed=seed)
            make_rich(path / "heat" / f"{heat}-{seed}", made, seed=heat + 10 * seed)
    for eps, count in (("8/255", 32), ("0.2", 20), ("0.4", 12)):
        make_rich(path / "eps" / eps.replace("/", "-"), measured(count, eps, settings=student(temperature=3)))
    make_rich(path / "curve", curved(student(temperature=6)))
    for parameters in (10, 30):
        settings = {**student(temperature=5), "pruner": [{"name": "filters", "ratio": parameters / 100}]}
        small = attrs.evolve(
            measured(28, settings=settings), parameters=parameters, flags=("only <40> images were measured",)
        )
        make_rich(path / "small" / str(parameters), small, spiking=parameters == 10)
    for number, guarded in enumerate((False, True)):
        make_rich(path / "outputs" / str(number), softly(student(temperature=7, alpha=number / 10), guarded=guarded))
    make_reproduction(path / "claims")
    return path


def make_reproduction(path: Path) -> Path:
    """Make a matrix that reproduces a table, with a run that failed."""
    failed = attrs.evolve(row("failed & gone"), status="failed", reason="out of memory <here>")
    make_matrix(
        path, [(row("higher"), Made(student=right(36))), (row("lower"), Made(student=right(20))), (failed, None)]
    )
    seen = ComparisonRecord(
        words="student clean: `higher` is higher than `lower`",
        difference=Difference(0.4, 0.25, 0.55, 3, 40),
        verdict="holds",
    )
    missing = ComparisonRecord(words="student clean: `lower` and `gone`", difference=None, verdict="undecided")
    against = attrs.evolve(seen, difference=Difference(-0.1, -0.2, -0.01, 3, 40), verdict="does not hold")
    claims = (
        ClaimRecord(says="The first is better", verdict="holds", comparisons=(seen,)),
        ClaimRecord(says="The last is there", verdict="undecided", comparisons=(missing,), note="Too small a scale."),
        ClaimRecord(says="The second is worse", verdict="does not hold", comparisons=(against,)),
    )
    published = (
        PublishedRecord(row="higher", figure="student clean", value=0.912, spread=0.004),
        PublishedRecord(row="unknown", figure="student clean", value=0.5),
    )
    record = ReproductionRecord(
        recipe="made/table",
        title="A made table",
        source="Nobody, 2020, table 1",
        scale="small",
        note="as in the paper, but small",
        figures=("student clean", "student nonzero"),
        published=published,
        claims=claims,
    )
    write_reproduction(path, record)
    return path


def group(collection: Collection, name: str) -> Group:
    """Find a group by name."""
    (found,) = [one for one in collection.groups if one.name == name]
    return found


def sectioned(section: Section | None) -> Section:
    """The section, which must be there."""
    assert section is not None
    return section


def column(table: Table, name: str) -> list[str]:
    """The cells of a column."""
    place = table.columns.index(name)
    return [cells[place] for cells in table.rows]


def exhibit(section: Section, name: str) -> Exhibit:
    """Find an exhibit by name."""
    (found,) = [one for one in section.exhibits if one.name == name]
    return found


def collected(runs: Mapping[str, Made], folder: Path) -> Collection:
    """Make runs by name and collect them."""
    for name, made in runs.items():
        make_run(folder / name, made)
    return collect([folder])

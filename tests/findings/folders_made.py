"""Folders of finished runs, made by the writers that real runs use, with figures of a test's choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
import tomlkit
from numpy.typing import NDArray

from rcframe.api import Norm
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.findings.records import MatrixRecord, RowRecord, write_matrix
from rcframe.networks.size import Size
from rcframe.options import Number, Value
from rcframe.session.evidence import About, Evidence, Role, write_evidence
from rcframe.session.layout import RunFiles
from rcframe.session.report import Measurement, ModelReport, Protocol, Report
from rcframe.session.seeds import SeedsReport

Judged = NDArray[np.bool_]
IMAGES = 40


def right(count: int, images: int = IMAGES) -> Judged:
    """The first `count` images are right."""
    return np.arange(images) < count


@attrs.frozen(kw_only=True)
class Made:
    """What a run found, and how it was set."""

    seed: int = 0
    teacher: Judged = attrs.field(factory=lambda: right(36))
    student: Judged = attrs.field(factory=lambda: right(30))
    #: By spec string: what the teacher has right, and what the student has.
    attacked: Mapping[str, tuple[Judged, Judged]] = attrs.field(factory=dict)
    certified: Mapping[str, tuple[Judged, Judged]] = attrs.field(factory=dict)
    norm: Norm = "linf"
    eps: str = "0.1"
    #: Options of every attack and certifier.
    options: Mapping[str, Value] = attrs.field(factory=dict)
    #: Parameters of the student, all of them non-zero.
    parameters: int = 50
    queries: int = 0
    flags: tuple[str, ...] = ()
    versions: Mapping[str, str] = attrs.field(factory=lambda: {"rcframe": "0.1.0", "torch": "2.6"})
    #: Says which images were measured; None for a run that kept no evidence.
    images: str | None = "the images"
    #: Settings of `run.toml` that are not those of every made run; None leaves one out.
    settings: Mapping[str, object] = attrs.field(factory=dict)

    @property
    def judged(self) -> dict[About, Judged]:
        """Everything that was measured."""
        found = {About("teacher", "clean"): self.teacher, About("student", "clean"): self.student}
        for prefix, measured in (("", self.attacked), ("certified by ", self.certified)):
            for spec, (mine, theirs) in measured.items():
                found |= {About("teacher", prefix + spec): mine, About("student", prefix + spec): theirs}
        return found

    @property
    def report(self) -> Report:
        """What `report.json` says."""
        return Report(
            command="rcframe run made.toml",
            data="digits",
            access="logit",
            teacher=self._model("teacher", Size(100, 100, 400)),
            student=self._model("student", Size(self.parameters, self.parameters, 4 * self.parameters)),
            queries=Queries(self.queries),
            seed=self.seed,
            seconds=1.5,
            device="cpu",
            versions=dict(self.versions),
            flags=self.flags,
        )

    def _model(self, role: Role, size: Size) -> ModelReport:
        place = 0 if role == "teacher" else 1
        return ModelReport(
            component="plain",
            model="convnet",
            neuron=None,
            clean=Measurement(_accuracy(self.teacher if role == "teacher" else self.student)),
            attacked={spec: self._robust(both[place]) for spec, both in self.attacked.items()},
            certified={spec: self._robust(both[place]) for spec, both in self.certified.items()},
            size=size,
        )

    def _robust(self, judged: Judged) -> Measurement:
        protocol = Protocol(
            norm=self.norm,
            eps=Number(self.eps),
            options=self.options,
            seed=self.seed,
            plugin="rcframe-attacks",
            version="0.1.0",
        )
        return Measurement(_accuracy(judged), protocol)

    @property
    def config(self) -> str:
        """What `run.toml` says."""
        everywhere: dict[str, object] = {
            "format": 1,
            "command": "rcframe run made.toml",
            "seed": self.seed,
            "seeds": 1,
            "eps": self.eps,
            "norm": self.norm,
            "device": "cpu",
            "threads": 1,
            "data": {"name": "digits", "size": 8},
            "teacher": {"name": "plain", "epochs": 3},
            "student": [{"name": "kd", "epochs": 3, "alpha": 0.9}],
            "typed": {"data": ["digits"], "teacher": ["plain:epochs=3"], "student": ["kd:epochs=3"]},
            "environment": {"processes": 1, "platform": "Linux"},
        }
        return tomlkit.dumps({name: text for name, text in {**everywhere, **self.settings}.items() if text is not None})


def _accuracy(judged: Judged) -> Accuracy:
    return Accuracy(int(judged.sum()), len(judged))


def make_run(path: Path, made: Made | None = None) -> Path:
    """Make the folder of a finished run."""
    run, files = made or Made(), RunFiles(path)
    path.mkdir(parents=True)
    files.config.write_text(run.config)
    files.report.write_text(run.report.to_json())
    if run.images is not None:
        write_evidence(files.evidence, Evidence(images=run.images, classes=("a", "b"), right=run.judged))
    return path


def make_unfinished(path: Path, seed: int = 0) -> Path:
    """Make the folder of a run that was stopped."""
    files = RunFiles(path)
    files.progress.mkdir(parents=True)
    files.config.write_text(Made(seed=seed).config)
    return path


def make_seeds(path: Path, runs: Sequence[Made], asked: int | None = None) -> Path:
    """Make the folder of a run that is repeated with several seeds, finished if all that were asked for are there."""
    count = len(runs) if asked is None else asked
    path.mkdir(parents=True)
    files, first = RunFiles(path), runs[0]
    settings = {**first.settings, "seeds": count}
    files.config.write_text(attrs.evolve(first, settings=settings).config)
    for run in runs:
        make_run(files.of_seed(run.seed), run)
    if count == len(runs):
        files.report.write_text(SeedsReport("rcframe run --seeds", tuple(run.report for run in runs)).to_json())
    return path


def make_matrix(path: Path, rows: Sequence[tuple[RowRecord, Made | None]]) -> Path:
    """Make the folder of a matrix; rows without a run are not finished."""
    path.mkdir(parents=True)
    records = tuple(record for record, _ in rows)
    write_matrix(path, MatrixRecord(title="made", command="rcframe matrix made.toml", axes=("x",), rows=records))
    for record, made in rows:
        if made:
            make_run(path / record.folder, made)
    return path


def row(name: str, seed: int = 0) -> RowRecord:
    """A finished row of a matrix."""
    return RowRecord(name=name, labels={"x": name}, seed=seed, folder=f"runs/{name}-{seed}", status="done")

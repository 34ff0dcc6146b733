"""Folders of finished runs, made by the writers that real runs use, with figures of a test's choice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import numpy as np
import tomlkit
from numpy.typing import NDArray

from rcframe.api import Norm
from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.oracle import Queries
from rcframe.findings.records import MatrixRecord, RowRecord, write_matrix
from rcframe.networks.size import Size
from rcframe.options import Number, Value
from rcframe.session.evidence import About, Evidence, Role, write_evidence
from rcframe.session.layout import RunFiles
from rcframe.session.outputs_report import Outputs
from rcframe.session.report import Broken, CurvePoint, Measurement, ModelReport, Passes, Protocol, Report
from rcframe.session.seeds import SeedsReport

Judged = NDArray[np.bool_]
#: The radius that breaks each image: 0 for those that are wrong as they are, inf for none.
Falls = NDArray[np.float32]
IMAGES = 40
WORST = "worst case"


def right(count: int, images: int = IMAGES) -> Judged:
    """The first `count` images are right."""
    return np.arange(images) < count


def falls(*counts: int, radii: Sequence[str]) -> Falls:
    """So many images are wrong as they are, so many break at the first radius, and so on; the others withstand."""
    steps = [0.0, *map(Number, radii)]
    found = np.repeat(np.array(steps[: len(counts)], np.float32), counts)
    return np.concatenate([found, np.full(IMAGES - len(found), math.inf, np.float32)])


@attrs.frozen(kw_only=True)
class Made:
    """What a run found, and how it was set."""

    seed: int = 0
    teacher: Judged = attrs.field(factory=lambda: right(36))
    student: Judged = attrs.field(factory=lambda: right(30))
    #: By spec string: what the teacher has right, and what the student has.
    attacked: Mapping[str, tuple[Judged, Judged]] = attrs.field(factory=dict)
    certified: Mapping[str, tuple[Judged, Judged]] = attrs.field(factory=dict)
    #: The radii of a curve, and by spec string where images of the teacher break under an attack, and the student's.
    radii: tuple[str, ...] = ()
    breaking: Mapping[str, tuple[Falls, Falls]] = attrs.field(factory=dict)
    #: The classes of the images; none for a run that did not count class by class.
    truth: NDArray[np.int64] = attrs.field(factory=lambda: np.zeros(0, np.int64))
    classes: tuple[str, ...] = ("a", "b")
    norm: Norm = "linf"
    eps: str = "0.1"
    #: Options of every attack and certifier.
    options: Mapping[str, Value] = attrs.field(factory=dict)
    #: What the outputs of each role give away, and what of that is kept image by image and class by class.
    outputs: Mapping[Role, Outputs] = attrs.field(factory=dict)
    agreement: Judged | None = None
    released: Judged | None = None
    peaks: Mapping[About, NDArray[np.int16]] = attrs.field(factory=dict)
    profiles: Mapping[About, NDArray[np.float32]] = attrs.field(factory=dict)
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
        found |= {About("student", "agreement"): self.agreement} if self.agreement is not None else {}
        found |= {About("teacher", "released"): self.released} if self.released is not None else {}
        for prefix, measured in (("", self._attacked), ("certified by ", self.certified)):
            for spec, (mine, theirs) in measured.items():
                found |= {About("teacher", prefix + spec): mine, About("student", prefix + spec): theirs}
        return found

    @property
    def fallen(self) -> dict[About, Falls]:
        """Where images break under each attack, and under all of them where there are several."""
        found: dict[About, Falls] = {}
        roles: tuple[Role, Role] = ("teacher", "student")
        for place, role in enumerate(roles):
            found |= {About(role, spec): both[place] for spec, both in self.breaking.items()}
            if len(self.breaking) > 1:
                found[About(role, WORST)] = np.minimum.reduce([both[place] for both in self.breaking.values()])
        return found

    @property
    def _attacked(self) -> dict[str, tuple[Judged, Judged]]:
        found = dict(self.attacked)
        if self.radii:
            last = np.float32(float(Number(self.radii[-1])))
            found |= {spec: (mine > last, theirs > last) for spec, (mine, theirs) in self.breaking.items()}
            both = [self.fallen.get(About(role, WORST)) for role in ("teacher", "student")]
            found |= {WORST: (both[0] > last, both[1] > last)} if both[0] is not None and both[1] is not None else {}
        return found

    @property
    def evidence(self) -> Evidence:
        """What `evidence.safetensors` holds; what is wrong is taken for the next class."""
        nameless = (WORST, "agreement", "released")
        judged = {
            about: right for about, right in self.judged.items() if len(self.truth) and about.what not in nameless
        }
        wrong = (self.truth + 1) % len(self.classes)
        return Evidence(
            images=self.images or "",
            classes=self.classes,
            right=self.judged,
            truth=self.truth,
            answers={about: np.where(right, self.truth, wrong).astype(np.int16) for about, right in judged.items()},
            breaking=self.fallen,
            peaks=self.peaks,
            profiles=self.profiles,
        )

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
        place, attacked = 0 if role == "teacher" else 1, self._attacked
        judged = self.teacher if role == "teacher" else self.student
        return ModelReport(
            component="plain",
            model="convnet",
            neuron=None,
            clean=Measurement(_accuracy(judged), by_class=self._by_class(judged)),
            attacked={spec: self._robust(role, spec, both[place]) for spec, both in attacked.items() if spec != WORST},
            worst_case=self._worst(role, attacked[WORST][place]) if WORST in attacked else None,
            certified={spec: self._robust(role, spec, both[place]) for spec, both in self.certified.items()},
            released=None if self.released is None or role == "student" else Measurement(_accuracy(self.released)),
            outputs=self.outputs.get(role, Outputs()),
            size=size,
        )

    def _by_class(self, judged: Judged) -> dict[str, Accuracy]:
        here = {name: judged[self.truth == label] for label, name in enumerate(self.classes) if len(self.truth)}
        return {name: _accuracy(some) for name, some in here.items() if len(some)}

    def _curve(self, about: About) -> tuple[CurvePoint, ...]:
        fallen = self.fallen.get(about, np.zeros(0, np.float32))
        points = [(Number(eps), fallen > np.float32(float(Number(eps)))) for eps in self.radii if len(fallen)]
        return tuple(CurvePoint(eps, _accuracy(right)) for eps, right in points)

    def _worst(self, role: Role, judged: Judged) -> Measurement:
        curve = self._curve(About(role, WORST))
        return Measurement(_accuracy(judged), by_class=self._by_class(judged), curve=curve)

    def _robust(self, role: Role, spec: str, judged: Judged) -> Measurement:
        protocol = Protocol(
            norm=self.norm,
            eps=Number(self.radii[-1] if self.radii else self.eps),
            options=self.options,
            seed=self.seed,
            plugin="rcframe-attacks",
            version="0.1.0",
        )
        curve = self._curve(About(role, spec))
        if not curve:
            return Measurement(_accuracy(judged), protocol, by_class=self._by_class(judged))
        return Measurement(
            _accuracy(judged),
            protocol,
            Queries(400, 360),
            by_class=self._by_class(judged),
            broken=Broken(int((~judged).sum()), 0.05, 0.5),
            passes=Passes(10.0, 9.0),
            faults=Faults(),
            curve=curve,
            curve_queries=Queries(500, 300),
        )

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
        write_evidence(files.evidence, run.evidence)
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

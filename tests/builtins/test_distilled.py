from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
from torch import Generator, Tensor, nn

import rcframe as rc
from rcframe.access import Access
from rcframe.api import Data, StudentStrategy, Teacher
from rcframe.builtins.distilled import DistilledTeacher
from rcframe.builtins.plain import PlainTeacher
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import Oracle
from rcframe.guarding import GuardedTeacher
from rcframe.networks.weights import Architecture, read_weights
from rcframe.options import component, option
from rcframe.registry import registry
from rcframe.testing.subject import Subject
from rcframe.testing.toys import fingerprint, some_images, toy_run
from rcframe.testing.training_promises import check_teacher_repeats, check_teacher_resumes, check_teacher_trains
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from tests.conftest import Announce

Q = "epochs=2,batch_size=16"
#: A run that takes a moment.
TINY: dict[str, Any] = {
    "data": "glyphs:classes=3,size=8,train=48,test=24,extra=0",
    "model": "convnet:channels=4+4,hidden=8",
    "seed": 0,
}

#: The noise that was drawn.
DRAWN: list[Tensor] = []


@component
class Hissing(GuardedTeacher):
    """Adds noise, another one in every query."""

    loudness: float = option(default=1.0, help="How much.")

    repeatable = False

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        DRAWN.append(torch.rand(logits.shape, generator=randomness))
        return logits + self.loudness * DRAWN[-1]


@component
class Copying(Training, StudentStrategy):
    """Copies logits by mean squared error, and keeps what it was given."""

    access = Access.LOGITS
    data = Data.INPUTS

    def unsupported(self, module: nn.Module) -> str | None:
        return "it has no convolution" if not any(isinstance(m, nn.Conv2d) for m in module.modules()) else None

    def mismatch(self, student: nn.Module, teacher: nn.Module) -> str | None:
        wide = [sum(p.numel() for p in network.parameters()) for network in (student, teacher)]
        return "the teacher is smaller" if wide[1] < wide[0] else None

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        def step(stage: Stage, batch: rc.Batch) -> None:
            stage.update((stage.module(batch.images) - teacher.logits(batch.images)).square().mean())

        yield self.stage(run, student, step)


class Triple(nn.Module):
    """Three times what another network says."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = 3 * self.inside(x)
        return y


@component
class Tripled(PlainTeacher):
    """Is trained on labels and leaves a network around what it trained."""

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        for stage in super().plan(network, run):
            stage.result = Triple(network)
            yield stage


@component
class Peeking(Copying):
    """Needs to see inside."""

    access = Access.LOGITS | Access.FEATURES


@component
class Greedy(Copying):
    """Reads labels that it does not declare."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        def step(stage: Stage, batch: rc.Batch) -> None:
            stage.update(torch.nn.functional.cross_entropy(stage.module(batch.images), batch.labels))

        yield self.stage(run, student, step)


@pytest.fixture(autouse=True)
def announced(announce: Announce) -> None:
    announce(Hissing, "hissing")
    announce(Copying, "copying")
    announce(Peeking, "peeking")
    announce(Greedy, "greedy")
    announce(Tripled, "tripled")


def distilled(spec: str) -> DistilledTeacher:
    made = registry().make("teacher", f"distilled:{spec}")
    assert isinstance(made, DistilledTeacher)
    return made


def trained(spec: str, run: Run | None = None) -> tuple[nn.Module, list[Stage]]:
    """Train a teacher on the toy data; return it and its stages."""
    teacher, run = registry().make("teacher", spec), run or toy_run("teacher")
    assert isinstance(teacher, Teacher)
    stages: list[Stage] = []

    def watched() -> Iterator[Stage]:
        for stage in teacher.plan(network, run):
            stages.append(stage)
            yield stage

    network = teacher.network(run)
    return execute(watched(), Monitor()) or network, stages


# -- generations ------------------------------------------------------------------------------------------------------


def test_the_first_teacher_is_trained_as_it_would_be_alone_and_then_left_alone() -> None:
    alone, _ = trained(f"plain:{Q}")
    pupil, stages = trained(f"distilled:teacher=(plain:{Q}),student=(copying:{Q})")
    first = stages[0].target
    assert [stage.name for stage in stages] == ["teacher/train", "teacher/train-2"]
    assert fingerprint(first.eval()) == fingerprint(alone.eval())
    assert not any(parameter.requires_grad for parameter in first.parameters())
    assert pupil is stages[1].target
    assert pupil is not first


def test_no_generation_starts_where_another_started() -> None:
    first = f"plain:{Q}"
    second = f"distilled:teacher=({first}),student=(copying:{Q})"
    third = f"distilled:teacher=({second}),student=(copying:{Q})"
    starts = {
        fingerprint(teacher.network(toy_run("teacher")))
        for teacher in (registry().make("teacher", spec) for spec in (first, second, third))
        if isinstance(teacher, Teacher)
    }
    assert len(starts) == 3


def test_the_pupil_learns_what_its_teacher_answers() -> None:
    pupil, (first, second) = trained(
        "distilled:teacher=(plain:epochs=12,batch_size=16,lr=0.005),student=(copying:epochs=30,batch_size=16,lr=0.005)"
    )
    x = some_images()[0]
    with torch.no_grad():
        gap, size = (pupil(x) - first.target(x)).square().mean(), first.target(x).square().mean()
    assert gap < 0.1 * size
    assert second.history[-1]["loss"] < 0.1 * second.history[0]["loss"]


def test_the_pupil_is_the_runs_model_whatever_the_first_teacher_is() -> None:
    pupil, (first, _) = trained(
        f"distilled:teacher=(plain:{Q}),student=(copying:{Q}),model=(convnet:channels=8+8,hidden=32)"
    )
    assert len(pupil.get_parameter("net.conv1.weight")) == 4
    assert len(first.target.get_parameter("net.conv1.weight")) == 8


def test_a_guarded_first_teacher_answers_its_pupil_as_it_answers_anybody() -> None:
    loud = f"hissing:teacher=(plain:{Q}),loudness=50"
    quiet, _ = trained(f"distilled:teacher=(plain:{Q}),student=(copying:{Q})")
    silenced, _ = trained(f"distilled:teacher=(hissing:teacher=(plain:{Q}),loudness=0),student=(copying:{Q})")
    disturbed, _ = trained(f"distilled:teacher=({loud}),student=(copying:{Q})")
    assert fingerprint(quiet) == fingerprint(silenced)
    assert fingerprint(quiet) != fingerprint(disturbed)


def test_what_a_first_teacher_leaves_is_what_its_pupil_asks() -> None:
    """A method may leave more than it trains, such as an ensemble of what it trained."""
    pupil, _ = trained(f"distilled:teacher=(tripled:{Q}),student=(copying:epochs=30,batch_size=16,lr=0.005)")
    first = trained(f"plain:{Q}")[0].eval()
    x = some_images()[0]
    with torch.no_grad():
        gap = [float((pupil(x) - times * first(x)).square().mean()) for times in (1, 3)]
    assert gap[1] < gap[0]


def test_the_pupil_becomes_what_its_strategy_makes_of_it() -> None:
    teacher = distilled("teacher=plain,student=copying")
    described = Architecture("convnet", None, (1, 8, 8), 3)
    assert teacher.becomes(described) == described
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Copying, "becomes", lambda self, trained: attrs.evolve(trained, model="twice"))
        assert teacher.becomes(described).model == "twice"


def test_there_may_be_a_third_generation() -> None:
    second = f"distilled:teacher=(plain:{Q}),student=(copying:{Q})"
    third = f"distilled:teacher=({second}),student=(copying:{Q})"
    _, two = trained(second)
    _, three = trained(third)
    assert [stage.name for stage in three] == ["teacher/train", "teacher/train-2", "teacher/train-3"]
    assert fingerprint(three[1].target.eval()) == fingerprint(two[1].target.eval())
    assert fingerprint(three[2].target) != fingerprint(three[1].target)
    assert distilled(third.removeprefix("distilled:")).generation == 2


def test_every_generation_meets_noise_of_its_own() -> None:
    """Otherwise the second pupil could learn what the noise of the first was."""
    DRAWN.clear()
    second = "distilled:teacher=(hissing:teacher=(plain:epochs=0)),student=(copying:epochs=1,batch_size=16)"
    trained(f"distilled:teacher=(hissing:teacher=({second})),student=(copying:epochs=1,batch_size=16)")
    assert len(DRAWN) == 2 * 4, "four batches in each generation"
    assert len({tuple(drawn.flatten().tolist()) for drawn in DRAWN}) == len(DRAWN)


def test_a_pupil_cannot_read_more_than_its_strategy_says() -> None:
    with pytest.raises(AssertionError, match="carry no labels"):
        trained(f"distilled:teacher=(plain:{Q}),student=(greedy:{Q})")


# -- promises ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "teacher", [f"plain:{Q}", f"hissing:teacher=(plain:{Q})", f"distilled:teacher=(plain:{Q}),student=(copying:{Q})"]
)
@pytest.mark.parametrize("promise", [check_teacher_trains, check_teacher_repeats, check_teacher_resumes])
def test_chains_keep_the_promises_of_teachers(teacher: str, promise: Any) -> None:
    class Made(Subject):
        def make(self) -> DistilledTeacher:
            return distilled(f"teacher=({teacher}),student=(copying:{Q})")

    spec = next(plugin for plugin in registry().plugins if plugin.distribution == "rcframe").specs[0]
    promise(Made("rcframe", "rcframe.builtins", spec))


def test_a_chain_is_made_of_its_parts() -> None:
    parts = distilled("teacher=(hissing:plain),student=copying").parts()
    assert [type(part).__name__ for part in parts] == ["Hissing", "PlainTeacher", "Copying"]


# -- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("teacher=plain", r"name a student strategy, as in `distilled:student=NAME"),
        ("teacher=plain,student=copied", r"No student named `copied`\. Did you mean `copying`"),
        ("teacher=plane,student=copying", r"No teacher named `plane`"),
        ("teacher=plain,student=peeking", r"needs features from the first teacher; access=logit grants"),
        ("teacher=plain,student=copying,access=hard", r"needs logits from the first teacher"),
        ("teacher=plain,student=copying,access=most", r"No access level `most`"),
    ],
)
def test_what_cannot_be_is_refused_when_it_is_made(spec: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        distilled(spec)


def test_more_access_can_be_granted() -> None:
    assert distilled("teacher=plain,student=peeking,access=grey").strategy == Peeking()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "mlp:hidden=8"}, r"by `copying`, cannot train this network: it has no convolution\."),
        (
            {"teacher": "distilled:student=copying,teacher=plain,model=(convnet:channels=1+1,hidden=1)"},
            r"by `copying`, cannot learn from `plain`: the teacher is smaller\.",
        ),
        (
            {"teacher": "distilled:student=(copying:fraction=0.001),teacher=plain"},
            r"A fraction of 0\.001 of 48 images is 0",
        ),
        ({"teacher": "distilled:student=copying,teacher=(plain:fraction=0.001)"}, r"A fraction of 0\.001"),
        ({"teacher": "distilled:student=(copying:attack=pgdd),teacher=plain"}, r"No attack named `pgdd`"),
        ({"teacher": "distilled:student=copying,teacher=file"}, r"Teacher `file` needs a path"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        rc.run(**{**TINY, "teacher": "distilled:student=copying,teacher=plain", "student": "plain", **settings})


# -- in a run ---------------------------------------------------------------------------------------------------------


def outcomes(folder: Path) -> dict[str, str]:
    work = json.loads((folder / "work.json").read_text())["work"]
    return {
        entry["determined_by"]["name"]: entry["outcome"]
        for entry in work
        if entry["determined_by"]["name"].startswith("teacher/")
    }


def test_the_first_teacher_is_shared_with_runs_in_which_it_is_the_teacher(tmp_path: Path) -> None:
    """With another model than the run's, behind a defence, and two generations back."""
    first, model = f"plain:{Q}", "convnet:channels=4+8,hidden=8"
    second = f"distilled:teacher=(hissing:teacher=({first})),student=(kd:{Q}),model=({model})"
    third = f"distilled:teacher=({second}),student=(kd:{Q})"
    rc.run(**{**TINY, "model": model}, teacher=first, student="plain:epochs=0", out=tmp_path / "first")
    for name, teacher in {"second": second, "third": third}.items():
        rc.run(**TINY, teacher=teacher, student="plain:epochs=0", out=tmp_path / name)
    assert outcomes(tmp_path / "first") == {"teacher/train": "computed"}
    assert outcomes(tmp_path / "second") == {"teacher/train": "cache", "teacher/train-2": "computed"}
    assert outcomes(tmp_path / "third") == {
        "teacher/train": "cache",
        "teacher/train-2": "cache",
        "teacher/train-3": "computed",
    }


def test_pupils_of_different_teachers_or_defences_are_not_mixed_up(tmp_path: Path) -> None:
    chains = [
        f"distilled:teacher=({teacher}),student=(kd:{Q})"
        for teacher in (f"plain:{Q}", f"hissing:teacher=(plain:{Q})", f"hissing:teacher=(plain:{Q}),loudness=2")
    ]
    weights = []
    for number, teacher in enumerate(chains):
        rc.run(**TINY, teacher=teacher, student="plain:epochs=0", out=tmp_path / str(number))
        weights.append(read_weights(tmp_path / str(number) / "teacher.safetensors"))
    for one, other in [(0, 1), (0, 2), (1, 2)]:
        assert any(not torch.equal(weights[one][name], weights[other][name]) for name in weights[0])
    assert [outcomes(tmp_path / str(number))["teacher/train-2"] for number in range(3)] == ["computed"] * 3


def test_a_brought_first_teacher_counts_by_its_weights(tmp_path: Path) -> None:
    """The same path may hold another network tomorrow."""
    for seed in (0, 1):
        rc.run(**{**TINY, "seed": seed}, teacher=f"plain:{Q}", student="plain:epochs=0", out=tmp_path / f"{seed}")
    file = tmp_path / "brought.safetensors"
    chain = f"distilled:teacher=(file:{file}),student=(kd:{Q})"
    for seed in (0, 1):
        file.write_bytes((tmp_path / f"{seed}" / "teacher.safetensors").read_bytes())
        rc.run(**TINY, teacher=chain, student="plain:epochs=0", out=tmp_path / f"of {seed}")
        assert outcomes(tmp_path / f"of {seed}") == {"teacher/train": "computed"}


def test_the_report_names_the_chain_and_the_pupil_is_what_is_saved_and_attacked(tmp_path: Path) -> None:
    teacher = f"distilled:teacher=(plain:{Q}),student=(kd:{Q})"
    report = rc.run(**TINY, teacher=teacher, student=f"kd:{Q}", attack="fgsm", eps=0.1, out=tmp_path / "run")
    assert report.teacher.component == teacher
    assert set(report.teacher.attacked) == {"fgsm"}
    saved = read_weights(tmp_path / "run" / "teacher.safetensors")
    again = rc.run(**TINY, teacher=f"file:{tmp_path / 'run' / 'teacher.safetensors'}", student="plain:epochs=0")
    assert again.teacher.clean.accuracy == report.teacher.clean.accuracy
    assert saved


def test_what_the_pupil_learned_from_determines_its_stages_and_its_code_too() -> None:
    """A defence that is edited keeps its options."""
    _, (first, second) = trained(f"distilled:teacher=(hissing:teacher=(plain:{Q})),student=(copying:{Q})")
    assert second.determined_by["guard"] == "hissing:loudness=1.0"
    assert {"first teacher", "code of rcframe"} <= set(second.determined_by)
    assert not first.determined_by


@pytest.mark.parametrize(
    "spec", ["student=(copying:fraction=0.001),teacher=plain", "student=copying,teacher=(plain:fraction=0.001)"]
)
def test_what_the_data_lacks_is_noticed_when_the_networks_are_built(spec: str) -> None:
    with pytest.raises(RequestError, match=r"A fraction of 0\.001"):
        distilled(spec).network(toy_run("teacher"))

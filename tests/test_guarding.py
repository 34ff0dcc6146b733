from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

import rcframe as rc
from rcframe.access import Access
from rcframe.api import Attack, Data, StudentStrategy, Teacher
from rcframe.builtins.plain import PlainTeacher
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.guarding import GuardedTeacher, guard_parts, guarded_oracle, guards_of, release_of, trained_part
from rcframe.options import component, option
from rcframe.registry import registry
from rcframe.seeding import derive, generator
from rcframe.testing.toys import fingerprint, some_images, toy_run, trained_network
from rcframe.training.compute import Compute
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.stage import Stage
from tests.conftest import Announce

Q = "epochs=1,batch_size=16"
#: A run that takes a moment.
TINY: dict[str, Any] = {
    "data": "glyphs:classes=3,size=8,train=48,test=24,extra=0",
    "model": "convnet:channels=4+4,hidden=8",
    "eps": 0.3,
    "seed": 0,
}


@component
class Shifted(GuardedTeacher):
    """Adds a number to every logit but the first."""

    by: float = option(default=1.0, help="What is added.")

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return torch.cat([logits[:, :1], logits[:, 1:] + self.by], dim=1)


@component
class Terse(GuardedTeacher):
    """Rules out every class but the first."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return torch.cat([logits[:, :1], torch.full_like(logits[:, 1:], -math.inf)], dim=1)


@component
class Doubled(GuardedTeacher):
    """Doubles every logit."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return 2 * logits


@component
class Hissing(GuardedTeacher):
    """Adds noise, another one in every query."""

    repeatable = False

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits + torch.rand(logits.shape, generator=randomness)


@component
class Humming(GuardedTeacher):
    """Adds the same noise in every query, to what the image says."""

    def guard(self, logits: Tensor, images: Tensor, randomness: Generator) -> Tensor:
        return logits + torch.rand(logits.shape[1], generator=randomness) + images.flatten(1).sum(1, keepdim=True)


@component
class Listening(StudentStrategy):
    """Writes the sum of what it heard into its weights, so that they tell what it was given."""

    access = Access.LOGITS
    data = Data.INPUTS

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        heard = teacher.logits(some_images()[0]).clamp_min(-1e3).sum()
        with torch.no_grad():
            next(student.parameters()).fill_(float(heard))
        yield from ()


@component
class Asking(Attack):
    """Asks for logits once, and moves every image by what it heard."""

    access = Access.LOGITS

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x + threat.eps * torch.sign(source.logits(x).sum(dim=1)).view(-1, 1, 1, 1)


@component
class Climbing(Asking):
    """The same with gradients at hand."""

    access = Access.LOGITS | Access.INPUT_GRAD

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        (gradient,) = torch.autograd.grad(source.logits(x.requires_grad_(True)).sum(), x)
        return super().craft(source, x.detach() + 0 * gradient, y, threat)


@component
class Brought(Teacher):
    """A teacher that nobody trains."""

    trains = False

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        yield from ()


@pytest.fixture(autouse=True)
def announced(announce: Announce) -> None:
    for cls in (Shifted, Terse, Doubled, Hissing, Humming, Brought, Asking, Climbing):
        announce(cls, cls.__name__.lower())


def teacher_of(spec: str) -> GuardedTeacher:
    teacher = registry().make("teacher", spec)
    assert isinstance(teacher, GuardedTeacher)
    return teacher


def oracle(spec: str, seed: int = 0, compute: Compute | None = None) -> tuple[rc.ModelOracle, Tensor]:
    """Return the oracle of a guarded teacher, and what its network says to the toy images."""
    network = trained_network()
    with torch.no_grad():
        logits = network(some_images()[0])
    teacher = registry().make("teacher", spec)
    assert isinstance(teacher, Teacher)
    return guarded_oracle(teacher, network, Access.LOGIT, seed, compute or Compute()), logits


# -- what leaves ------------------------------------------------------------------------------------------------------


def test_the_defence_inside_comes_first() -> None:
    x = some_images()[0]
    step = torch.tensor([0.0, 3.0, 3.0])
    asked, logits = oracle("shifted:teacher=doubled,by=3")
    assert torch.allclose(asked.logits(x), 2 * logits + step)
    asked, logits = oracle("doubled:teacher=(shifted:by=3)")
    assert torch.allclose(asked.logits(x), 2 * (logits + step))


def test_everything_that_can_be_asked_for_is_guarded() -> None:
    x = some_images()[0]
    asked, logits = oracle("shifted:by=100")
    guarded = torch.cat([logits[:, :1], logits[:, 1:] + 100], dim=1)
    assert torch.equal(asked.labels(x), guarded.argmax(dim=1))
    assert torch.allclose(asked.probabilities(x), guarded.softmax(dim=1))
    assert not torch.equal(asked.labels(x), logits.argmax(dim=1)), "the test could not tell"


def test_a_class_that_is_ruled_out_has_probability_zero() -> None:
    asked, _ = oracle("terse")
    assert torch.equal(asked.probabilities(some_images()[0])[:, 1:], torch.zeros(12, 2))


def test_an_unguarded_teacher_answers_as_its_network_does() -> None:
    asked, logits = oracle("plain")
    assert torch.equal(asked.logits(some_images()[0]), logits)
    assert asked.repeatable
    assert release_of(PlainTeacher(), 0, Compute()) is None


def test_noise_is_drawn_anew_in_every_query_and_again_in_the_same_way() -> None:
    x = some_images()[0]
    (one, logits), (other, _), (elsewhere, _) = oracle("hissing"), oracle("hissing"), oracle("hissing", seed=1)
    first, second = one.logits(x), one.logits(x)
    assert not torch.equal(first, second)
    assert not one.repeatable
    assert torch.equal(other.logits(x), first)
    assert torch.equal(other.logits(x), second)
    assert not torch.equal(elsewhere.logits(x), first)
    assert (first - logits).min() >= 0


def test_the_number_of_the_query_decides_the_noise_so_that_a_run_that_goes_on_draws_the_same() -> None:
    x = some_images()[0]
    (one, _), (resumed, _) = oracle("hissing"), oracle("hissing")
    one.logits(x)
    resumed.queries.load_state_dict(one.queries.state_dict())
    assert torch.equal(one.logits(x), resumed.logits(x))


def test_a_defence_that_repeats_itself_draws_the_same_in_every_query() -> None:
    x = some_images()[0]
    asked, logits = oracle("humming")
    first = asked.logits(x)
    assert torch.allclose(asked.logits(x[3:5]), first[3:5])
    assert asked.repeatable
    noise = torch.rand(3, generator=generator(derive(0, "guard")))
    assert torch.allclose(first, logits + noise + x.flatten(1).sum(1, keepdim=True))


def test_two_defences_do_not_draw_the_same_noise() -> None:
    """Otherwise the outer could undo the inner one."""
    asked, logits = oracle("humming:humming")
    added = asked.logits(some_images()[0]) - logits
    alone = oracle("humming")[0].logits(some_images()[0]) - logits
    assert not torch.allclose(added, 2 * alone)


def test_a_defence_around_one_that_varies_varies_too() -> None:
    assert not teacher_of("humming:hissing").repeats()
    assert not teacher_of("hissing:humming").repeats()
    assert teacher_of("humming:humming").repeats()
    assert not oracle("humming:hissing")[0].repeatable


@pytest.mark.parametrize("query", [0, 1, 5])
def test_no_two_processes_draw_the_same_noise(query: int) -> None:
    class Second(Compute):
        count = 2
        index = 1

    class First(Compute):
        count = 2
        index = 0

    zeros, x = torch.zeros(12, 3), some_images()[0]
    here, there = (release_of(teacher_of("hissing"), 0, compute) for compute in (First(), Second()))
    assert here is not None
    assert there is not None
    answers = [here(zeros, x, query), *(there(zeros, x, other) for other in range(7))]
    assert not any(torch.equal(answers[0], answer) for answer in answers[1:])


# -- what is inside ---------------------------------------------------------------------------------------------------


def test_the_teacher_inside_is_trained_as_it_would_be_alone() -> None:
    trained = []
    for spec in ("plain:epochs=2,batch_size=16", "doubled:teacher=(shifted:teacher=(plain:epochs=2,batch_size=16))"):
        teacher, run = registry().make("teacher", spec), toy_run("teacher")
        assert isinstance(teacher, Teacher)
        network = execute(teacher.plan(teacher.network(run), run), Monitor())
        assert network is not None
        trained.append(fingerprint(network))
    assert trained[0] == trained[1]


def test_a_defence_says_of_the_teacher_inside_what_that_says_of_itself() -> None:
    assert not teacher_of("doubled:brought").trains
    assert teacher_of("doubled:plain").trains
    parts = teacher_of("doubled:teacher=(shifted:teacher=(plain:attack=climbing))").parts()
    assert [type(part) for part in parts] == [Shifted, PlainTeacher, Climbing]


def test_what_trains_and_what_guards_are_told_apart() -> None:
    teacher = teacher_of("doubled:teacher=(shifted:teacher=(plain:epochs=3),by=2)")
    assert trained_part(teacher) == PlainTeacher(epochs=3)
    assert trained_part(PlainTeacher()) == PlainTeacher()
    assert [type(guard) for guard in guards_of(teacher)] == [Doubled, Shifted]
    assert guards_of(PlainTeacher()) == ()


def test_what_guards_counts_with_its_options_its_code_and_its_order_but_not_for_what_is_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for cls in (Doubled, Shifted):
        monkeypatch.setattr(cls, "__module__", "rcframe.made.elsewhere")
    parts = guard_parts(teacher_of("doubled:teacher=(shifted:teacher=(plain:epochs=3),by=2)"))
    assert parts["guard"] == "doubled around shifted:by=2.0"
    assert parts["code of rcframe"]
    assert guard_parts(teacher_of("shifted:teacher=(doubled:brought),by=2"))["guard"] == "shifted:by=2.0 around doubled"
    assert guard_parts(PlainTeacher()) == {}


def test_an_unknown_teacher_inside_is_refused_at_once() -> None:
    with pytest.raises(RequestError, match="No teacher named `plane`"):
        registry().make("teacher", "doubled:plane")


# -- in a run ---------------------------------------------------------------------------------------------------------


def outcomes(folder: Path, *, without: str = "measured") -> dict[str, str]:
    """Return how each piece of training in a folder was come by."""
    work = json.loads((folder / "work.json").read_text())["work"]
    return {entry["determined_by"]["name"]: entry["outcome"] for entry in work if without not in entry["determined_by"]}


def test_the_teacher_is_shared_with_runs_without_a_defence_and_the_student_is_not(tmp_path: Path) -> None:
    for name, teacher in [("plain", f"plain:{Q}"), ("guarded", f"shifted:teacher=(plain:{Q})")]:
        rc.run(**TINY, teacher=teacher, student=f"kd:{Q}", out=tmp_path / name)
    assert outcomes(tmp_path / "plain") == {"teacher/train": "computed", "student/train": "computed"}
    assert outcomes(tmp_path / "guarded") == {"teacher/train": "cache", "student/train": "computed"}


def test_students_of_two_defences_are_not_mixed_up_and_those_of_one_are_shared(tmp_path: Path) -> None:
    for name, by in [("one", 1), ("two", 2), ("again", 1)]:
        rc.run(**TINY, teacher=f"shifted:teacher=(plain:{Q}),by={by}", student=f"kd:{Q}", out=tmp_path / name)
    found = {name: outcomes(tmp_path / name)["student/train"] for name in ("one", "two", "again")}
    assert found == {"one": "computed", "two": "computed", "again": "cache"}


def test_the_report_names_the_defence_and_the_student_meets_it(announce: Announce) -> None:
    announce(Listening, "listening")
    reports = [
        rc.run(**TINY, teacher=teacher, student="listening", cache=False)
        for teacher in (f"plain:{Q}", f"shifted:teacher=(plain:{Q}),by=9")
    ]
    assert reports[1].teacher.component == f"shifted:teacher=(plain:{Q}),by=9"
    assert reports[1].student.clean != reports[0].student.clean
    assert reports[0].teacher.clean == reports[1].teacher.clean


@pytest.mark.parametrize(("attack", "meets"), [("asking", True), ("climbing", False)])
def test_an_attack_that_only_asks_meets_the_defence_and_one_with_gradients_does_not(attack: str, meets: bool) -> None:
    """It makes images brighter or darker, as the sum of the logits says."""
    teachers = [f"shifted:teacher=(plain:epochs=6,batch_size=16,lr=0.01),by={by}" for by in (-1000, 1000)]
    darker, brighter = (
        rc.run(**TINY, teacher=teacher, attack=attack, student="plain:epochs=0").teacher.attacked[attack]
        for teacher in teachers
    )
    assert (darker.broken != brighter.broken) == meets


def test_an_attack_inside_the_training_of_the_teacher_is_checked_through_the_defence() -> None:
    with pytest.raises(RequestError, match="attack` of teacher `plain`: No attack named `pgdd`"):
        rc.run(**TINY, teacher="shifted:teacher=(plain:attack=pgdd)", student="plain:epochs=0")


def test_a_twin_of_a_guarded_teacher_can_be_attacked(tmp_path: Path) -> None:
    report = rc.run(
        **TINY,
        teacher=f"shifted:teacher=(plain:{Q})",
        student="plain:epochs=0",
        attack="transfer:attack=fgsm,source=twin",
    )
    assert len(report.teacher.attacked) == 1

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_generations.born_again import BornAgain, generation_loss
from torch import Tensor, nn

from rcframe import Access, Data, ModelOracle, Oracle, Run, TensorImages
from rcframe.choice import parse_choice
from rcframe.testing.toys import (
    CLASSES,
    StageLog,
    fingerprint,
    some_images,
    toy_dataset,
    toy_images,
    toy_run,
    trained_network,
)
from rcframe.training.loop import execute


def logits(seed: int, batch: int = 4, classes: int = 5) -> Tensor:
    return 3 * torch.randn(batch, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- the loss --------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_one_computed_by_hand() -> None:
    # Softmax of (2 ln 3, 0) / 2 is (3/4, 1/4), that of (0, 0) is (1/2, 1/2); the cross-entropy of the latter is ln 2.
    z, before = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[2 * math.log(3), 0]], dtype=torch.float64)
    soft = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    loss = generation_loss(z, before, torch.tensor([1]), 0.3, 2.0)
    assert float(loss) == pytest.approx(0.7 * math.log(2) + 0.3 * 4 * soft, abs=1e-12)


@given(st.floats(0, 1), st.floats(0.5, 20), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_gradient_is_the_analytic_one(alpha: float, temperature: float, seed: int) -> None:
    z, before, y = logits(seed).requires_grad_(True), logits(seed + 1), torch.arange(4)
    (found,) = torch.autograd.grad(generation_loss(z, before, y, alpha, temperature), z)
    hard = z.detach().softmax(1) - F.one_hot(y, 5)
    soft = temperature * ((z.detach() / temperature).softmax(1) - (before / temperature).softmax(1))
    assert torch.allclose(found, ((1 - alpha) * hard + alpha * soft) / 4, rtol=1e-10, atol=1e-10)


def test_a_term_without_weight_is_left_out() -> None:
    z, nonsense = logits(0), torch.full((4, 5), math.nan, dtype=torch.float64)
    no_class = torch.full((4,), 99)
    assert torch.equal(generation_loss(z, nonsense, torch.arange(4), 0.0, 4.0), F.cross_entropy(z, torch.arange(4)))
    assert generation_loss(z, logits(1), no_class, 1.0, 4.0) > 0


# --- the generations -------------------------------------------------------------------------------------------------


def train(strategy: BornAgain, teacher: Oracle, run: Run) -> tuple[nn.Module, StageLog]:
    recorder, student = StageLog(), run.network("student")
    assert execute(strategy.plan(student, teacher, run), recorder) is student
    return student, recorder


def asked(network: nn.Module) -> ModelOracle:
    return ModelOracle(network, BornAgain.access)


def linear_run() -> Run:
    return attrs.evolve(toy_run("student"), model=parse_choice("mlp:hidden=", "model"))


def weights(network: nn.Module) -> Tensor:
    return network.get_parameter("net.fc1.weight").detach().double()


def step_from(start: nn.Module, before: Tensor, run: Run, alpha: float, temperature: float) -> Tensor:
    """The weights of a linear network after one full step of size 1 on equation (1), with the logits `before`."""
    everything = run.data.train.first(64)
    x = ((everything.images.double() - 0.3) / 0.3).flatten(1)
    with torch.no_grad():
        z = start(everything.images).double()
    hard = z.softmax(1) - F.one_hot(everything.labels, CLASSES)
    soft = temperature * ((z / temperature).softmax(1) - (before / temperature).softmax(1))
    moved: Tensor = weights(start) - (((1 - alpha) * hard + alpha * soft) / 64).T @ x
    return moved


def test_every_generation_steps_towards_the_one_before_it() -> None:
    run, teacher, alpha, temperature = linear_run(), trained_network(epochs=2), 0.8, 3.0
    strategy = BornAgain(
        generations=3,
        alpha=alpha,
        temperature=temperature,
        epochs=1,
        batch_size=64,
        optimizer="sgd",
        lr=1.0,
        momentum=0.0,
    )
    _, recorder = train(strategy, asked(teacher), run)
    x = run.data.train.first(64).images
    before: Sequence[nn.Module] = (teacher, *(stage.target for stage in recorder.stages))
    starts = [run.network(name) for name in ("generation-1", "generation-2", "student")]
    for stage, source, start in zip(recorder.stages, before, starts, strict=False):
        with torch.no_grad():
            expected = step_from(start, source(x).double(), run, alpha, temperature)
            unlike = step_from(start, before[3](x).double(), run, alpha, temperature)
        assert torch.allclose(weights(stage.target), expected, atol=1e-5), stage.name
        assert not torch.allclose(expected, unlike, atol=1e-3), "the test could not tell"


def test_every_generation_starts_afresh_and_the_last_is_the_student() -> None:
    run = toy_run("student")
    student, recorder = train(BornAgain(generations=4, epochs=0), asked(trained_network(epochs=1)), run)
    names = ["student/generation-1", "student/generation-2", "student/generation-3", "student/train"]
    assert [stage.name for stage in recorder.stages] == names
    assert recorder.stages[-1].target is student
    assert len(set(recorder.finished)) == 4, "two generations start from the same weights"
    assert fingerprint(student) == fingerprint(run.network("student").eval())


def test_only_the_first_generation_asks_the_teacher_and_once() -> None:
    for generations in (1, 3):
        oracle = asked(trained_network(epochs=1))
        train(BornAgain(generations=generations, epochs=2), oracle, toy_run("student"))
        assert oracle.queries.images == 64


def test_a_generation_does_not_change_any_more_when_the_next_one_learns() -> None:
    run = attrs.evolve(toy_run("student"), model=parse_choice("digitnet:channels=4,hidden=8", "model"))
    _, recorder = train(BornAgain(generations=3, epochs=2), asked(trained_network(epochs=1)), run)
    assert [fingerprint(stage.target) for stage in recorder.stages] == recorder.finished
    assert not any(parameter.requires_grad for parameter in recorder.stages[0].target.parameters())


def test_one_generation_is_distillation_from_the_teacher() -> None:
    _, recorder = train(BornAgain(generations=1, epochs=1), asked(trained_network(epochs=1)), toy_run("student"))
    assert [stage.name for stage in recorder.stages] == ["student/train"]


def test_on_unlabelled_images_every_generation_takes_the_top_answers_of_the_one_before() -> None:
    strategy = BornAgain(images="extra", generations=2, alpha=0.0, epochs=15, batch_size=16, lr=5e-3)
    assert strategy.access == Access.LOGITS | Access.LABEL
    unlabelled = attrs.evolve(toy_dataset(), extra=TensorImages(toy_images(64, 9).x))
    # Every label that could be read is wrong.
    wrong = TensorImages(toy_images(64, 1).x, (torch.arange(64) + 1) % CLASSES)
    run = attrs.evolve(toy_run("student", Data.INPUTS), dataset=attrs.evolve(unlabelled, train=wrong))
    student, _ = train(strategy, ModelOracle(trained_network(), strategy.access), run)
    x, y = some_images(24)
    with torch.no_grad():
        assert (student(x).argmax(1) == y).float().mean() >= 0.9

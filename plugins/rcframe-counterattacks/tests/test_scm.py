from __future__ import annotations

import math
from itertools import pairwise

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_counterattacks.scm import SCM, sequence_loss
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


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# --- the loss --------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_one_computed_by_hand() -> None:
    z, target = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    loss = sequence_loss(z, target, torch.tensor([1]), 0.3, 2.0)
    assert float(loss) == pytest.approx(0.7 * math.log(2) + 0.3 * 4 * divergence, abs=1e-12)


@given(st.floats(0, 1), st.floats(0.5, 20), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_gradient_is_the_analytic_one(alpha: float, tau: float, seed: int) -> None:
    z, q, y = logits(seed).requires_grad_(True), logits(seed + 1).softmax(1), torch.arange(4)
    (found,) = torch.autograd.grad(sequence_loss(z, q, y, alpha, tau), z)
    hard = z.detach().softmax(1) - F.one_hot(y, 5)
    soft = tau * ((z.detach() / tau).softmax(1) - q)
    assert torch.allclose(found, ((1 - alpha) * hard + alpha * soft) / 4, rtol=1e-10, atol=1e-10)


def test_a_term_without_weight_is_left_out() -> None:
    z, nonsense, y = logits(0), torch.full((4, 5), math.nan, dtype=torch.float64), torch.arange(4)
    assert torch.equal(sequence_loss(z, nonsense, y, 0.0, 4.0), F.cross_entropy(z, y))
    assert sequence_loss(z, logits(1).softmax(1), torch.full((4,), 99), 1.0, 4.0) > 0


# --- the sequence ----------------------------------------------------------------------------------------------------


def train(strategy: SCM, teacher: Oracle, run: Run) -> tuple[nn.Module, StageLog]:
    recorder, student = StageLog(), run.network("student")
    assert execute(strategy.plan(student, teacher, run), recorder) is student
    return student, recorder


def weights(network: nn.Module) -> Tensor:
    return network.get_parameter("net.fc1.weight").detach().double()


@pytest.mark.parametrize("mix", [0.5, 0.8])
def test_every_network_steps_towards_the_teacher_and_the_one_before(mix: float) -> None:
    run = attrs.evolve(toy_run("student"), model=parse_choice("mlp:hidden=", "model"))
    teacher, alpha, tau = trained_network(epochs=2), 0.7, 3.0
    strategy = SCM(
        mix=mix,
        alpha=alpha,
        temperature=tau,
        epochs=1,
        batch_size=64,
        optimizer="sgd",
        lr=1.0,
        momentum=0.0,
    )
    _, recorder = train(strategy, ModelOracle(teacher, SCM.access), run)
    everything = run.data.train.first(64)
    x, y = everything.images, F.one_hot(everything.labels, CLASSES)
    inputs = ((x.double() - 0.3) / 0.3).flatten(1)
    starts = [run.network(name) for name in ("intermediate-1", "intermediate-2", "student")]
    ends = [stage.target for stage in recorder.stages]
    with torch.no_grad():
        first, *later = [network(x).double() for network in starts]
        assert torch.allclose(
            weights(ends[0]), weights(starts[0]) - ((first.softmax(1) - y) / 64).T @ inputs, atol=1e-5
        ), "the first network learns from labels alone"
        for z, start, (before, end) in zip(later, starts[1:], pairwise(ends), strict=True):
            soft = [(network(x).double() / tau).softmax(1) for network in (teacher, before)]
            target = mix * soft[0] + (1 - mix) * soft[1]
            pull = (1 - alpha) * (z.softmax(1) - y) + alpha * tau * ((z / tau).softmax(1) - target)
            assert torch.allclose(weights(end), weights(start) - (pull / 64).T @ inputs, atol=1e-5)


@pytest.mark.parametrize("intermediates", [1, 3])
def test_every_network_starts_afresh_and_the_last_is_the_student(intermediates: int) -> None:
    run = toy_run("student")
    oracle = ModelOracle(trained_network(epochs=1), SCM.access)
    student, recorder = train(SCM(intermediates=intermediates, epochs=0), oracle, run)
    names = [f"student/intermediate-{number}" for number in range(1, intermediates + 1)]
    assert [stage.name for stage in recorder.stages] == [*names, "student/train"]
    assert len(set(recorder.finished)) == intermediates + 1
    assert fingerprint(student) == fingerprint(run.network("student").eval())


def test_the_teacher_is_asked_for_every_image_once_by_the_whole_sequence() -> None:
    oracle = ModelOracle(trained_network(epochs=1), SCM.access)
    train(SCM(intermediates=3, epochs=2), oracle, toy_run("student"))
    assert oracle.queries.images == 64


def test_a_network_does_not_change_any_more_when_the_next_one_learns() -> None:
    run = attrs.evolve(toy_run("student"), model=parse_choice("digitnet:channels=4,hidden=8", "model"))
    _, recorder = train(SCM(epochs=2), ModelOracle(trained_network(epochs=1), SCM.access), run)
    assert [fingerprint(stage.target) for stage in recorder.stages] == recorder.finished


def test_on_unlabelled_images_the_sequence_starts_from_the_teachers_top_answers() -> None:
    strategy = SCM(images="extra", epochs=12, batch_size=16, lr=5e-3)
    assert strategy.access == Access.LOGITS | Access.LABEL
    dataset = attrs.evolve(
        toy_dataset(),
        train=TensorImages(toy_images(64, 1).x, (torch.arange(64) + 1) % CLASSES),
        extra=TensorImages(toy_images(64, 9).x),
    )
    run = attrs.evolve(toy_run("student", Data.INPUTS), dataset=dataset)
    student, _ = train(strategy, ModelOracle(trained_network(), strategy.access), run)
    x, y = some_images(24)
    with torch.no_grad():
        assert (student(x).argmax(1) == y).float().mean() >= 0.9

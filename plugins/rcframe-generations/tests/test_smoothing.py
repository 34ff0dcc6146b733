from __future__ import annotations

import math

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_generations.smoothing import LabelSmoothing, smoothed_loss
from torch import Tensor

from rcframe import Access, Data, ModelOracle, Run, TensorImages
from rcframe.builtins.plain import PlainStudent
from rcframe.choice import parse_choice
from rcframe.testing.toys import CLASSES, some_images, toy_dataset, toy_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_the_one_computed_by_hand() -> None:
    # Softmax is (1/2, 1/4, 1/4); with s = 0.3 the target is (0.8, 0.1, 0.1).
    z = torch.tensor([[math.log(2), 0, 0]], dtype=torch.float64)
    expected = 0.8 * math.log(2) + 0.2 * math.log(4)
    assert float(smoothed_loss(z, torch.tensor([0]), 0.3)) == pytest.approx(expected, abs=1e-12)


@given(st.floats(0, 1), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_loss_is_torchs_own(smoothing: float, seed: int) -> None:
    z, y = logits(seed), torch.arange(4)
    expected = F.cross_entropy(z, y, label_smoothing=smoothing)
    assert torch.allclose(smoothed_loss(z, y, smoothing), expected, rtol=1e-10, atol=1e-10)


@given(st.floats(0, 1), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_gradient_pulls_towards_the_smoothed_label(smoothing: float, seed: int) -> None:
    z, y = logits(seed).requires_grad_(True), torch.arange(4)
    (found,) = torch.autograd.grad(smoothed_loss(z, y, smoothing), z)
    target = (1 - smoothing) * F.one_hot(y, 5).double() + smoothing / 5
    assert torch.allclose(found, (z.detach().softmax(1) - target) / 4, rtol=1e-10, atol=1e-10)


def linear_run() -> Run:
    return attrs.evolve(toy_run("student"), model=parse_choice("mlp:hidden=", "model"))


def trained(strategy: LabelSmoothing | PlainStudent, run: Run, oracle: ModelOracle) -> Tensor:
    student = run.network("student")
    execute(strategy.plan(student, oracle, run), Monitor())
    return student.get_parameter("net.fc1.weight").detach()


def test_without_smoothing_this_is_training_on_labels_and_no_teacher_is_asked() -> None:
    run, oracle = linear_run(), ModelOracle(trained_network(epochs=1), Access.NONE)
    plain = trained(PlainStudent(epochs=3), run, oracle)
    for smoothing, same in ((0.0, True), (0.3, False)):
        found = trained(LabelSmoothing(smoothing=smoothing, epochs=3), linear_run(), oracle)
        assert torch.allclose(found, plain, atol=1e-5) is same
    assert oracle.queries.images == 0


def test_on_unlabelled_images_the_teachers_top_answers_are_smoothed() -> None:
    strategy = LabelSmoothing(images="extra", epochs=15, batch_size=16, lr=5e-3)
    assert strategy.access == Access.LABEL
    dataset = attrs.evolve(
        toy_dataset(),
        train=TensorImages(toy_images(64, 1).x, (torch.arange(64) + 1) % CLASSES),
        extra=TensorImages(toy_images(64, 9).x),
    )
    run = attrs.evolve(toy_run("student", Data.INPUTS), dataset=dataset)
    student = run.network("student")
    execute(strategy.plan(student, ModelOracle(trained_network(), strategy.access), run), Monitor())
    x, y = some_images(24)
    with torch.no_grad():
        assert (student(x).argmax(1) == y).float().mean() >= 0.9

from __future__ import annotations

import attrs
import pytest
import torch
import torch.nn.functional as F
from rcframe_counterattacks.htc import HTC
from torch import nn

from rcframe import Access, Data, ModelOracle, Oracle, Run, StudentStrategy, TensorImages
from rcframe.builtins.plain import PlainStudent
from rcframe.choice import parse_choice
from rcframe.testing.toys import CLASSES, some_images, toy_dataset, toy_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor


def linear_run() -> Run:
    return attrs.evolve(toy_run("student"), model=parse_choice("mlp:hidden=", "model"))


def train(strategy: StudentStrategy, teacher: Oracle, run: Run) -> nn.Module:
    student = run.network("student")
    execute(strategy.plan(student, teacher, run), Monitor())
    return student


@pytest.mark.parametrize(("mix", "temperature"), [(0.5, 20.0), (0.9, 2.0)])
def test_one_step_moves_the_weights_towards_the_mixture(mix: float, temperature: float) -> None:
    run, teacher = linear_run(), trained_network(epochs=3)
    strategy = HTC(mix=mix, temperature=temperature, epochs=1, batch_size=64, optimizer="sgd", lr=1.0, momentum=0.0)
    start, after = run.network("student").double(), train(strategy, ModelOracle(teacher, HTC.access), run)
    everything = run.data.train.first(64)
    x = everything.images.double()
    with torch.no_grad():
        z = start(x)
        soft = (teacher(everything.images).double() / temperature).softmax(1)
    target = mix * soft + (1 - mix) * F.one_hot(everything.labels, CLASSES)
    step = ((z.softmax(1) - target) / 64).T @ ((x - 0.3) / 0.3).flatten(1)
    moved = after.get_parameter("net.fc1.weight").double() - start.get_parameter("net.fc1.weight")
    assert torch.allclose(moved, -step, atol=1e-6)


def test_without_the_teachers_share_this_is_training_on_labels() -> None:
    oracle = ModelOracle(trained_network(epochs=1), HTC.access)
    plain, found, other = (
        train(strategy, oracle, linear_run()).get_parameter("net.fc1.weight")
        for strategy in (PlainStudent(epochs=3), HTC(mix=0, epochs=3), HTC(epochs=3))
    )
    assert torch.allclose(plain, found, atol=1e-5)
    assert not torch.allclose(plain, other, atol=1e-3)


def test_the_teacher_is_asked_for_every_image_once() -> None:
    oracle = ModelOracle(trained_network(epochs=1), HTC.access)
    train(HTC(epochs=3), oracle, toy_run("student"))
    assert oracle.queries.images == 64


def test_on_unlabelled_images_the_teachers_top_answer_is_the_clean_signal() -> None:
    strategy = HTC(images="extra", epochs=15, batch_size=16, lr=5e-3)
    assert strategy.access == Access.LOGITS | Access.LABEL
    dataset = attrs.evolve(
        toy_dataset(),
        train=TensorImages(toy_images(64, 1).x, (torch.arange(64) + 1) % CLASSES),
        extra=TensorImages(toy_images(64, 9).x),
    )
    run = attrs.evolve(toy_run("student", Data.INPUTS), dataset=dataset)
    student, (x, y) = train(strategy, ModelOracle(trained_network(), strategy.access), run), some_images(24)
    with torch.no_grad():
        assert (student(x).argmax(1) == y).float().mean() >= 0.9

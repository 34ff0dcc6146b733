from __future__ import annotations

import attrs
import pytest
import torch
import torch.nn.functional as F
from rcframe_skeptical.headed import HeadedStudent, with_heads
from rcframe_skeptical.own_teacher import Compared, OwnTeacher
from torch import nn

import rcframe as rc
from rcframe import Access, ModelOracle, Run, Stage, recording
from rcframe.choice import parse_choice
from rcframe.testing.toys import CLASSES, some_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

#: Of an oracle that grants nothing, nothing can be asked.
NOBODY = ModelOracle(nn.Identity(), Access.NONE)


def run_with(model: str = "blocknet:width=0.5") -> Run:
    return attrs.evolve(toy_run("student"), model=parse_choice(model, "model"))


def stage_of(strategy: OwnTeacher, model: str = "blocknet:width=0.5") -> Stage:
    run = run_with(model)
    return next(strategy.plan(run.network("student"), NOBODY, run))


def headed(stage: Stage) -> HeadedStudent:
    assert isinstance(stage.module, HeadedStudent)
    return stage.module


@pytest.mark.parametrize(
    ("taps", "layers"),
    [
        (("auto",), ("net.pool1", "net.relu2", "net.pool2")),
        (("1", "net.conv2"), ("net.pool1", "net.conv2")),
        (("2", "2"), ("net.relu2",)),
    ],
)
def test_heads_sit_at_all_taps_but_the_last_or_where_they_are_asked_to(
    taps: tuple[str, ...], layers: tuple[str, ...]
) -> None:
    assert headed(stage_of(OwnTeacher(taps=taps))).layers == layers


def test_one_step_is_that_of_the_equations() -> None:
    strategy = OwnTeacher(features=0.01, head="plain", optimizer="sgd", lr=1.0, momentum=0.0)
    stage = stage_of(strategy)
    stage.begin()
    module, batch = headed(stage).train(), next(stage.batches.epoch(0))
    heads = [f"heads.{n}.4" for n in range(3)]
    with recording(module, ["student.net.relu4", *heads]) as seen:
        final, logits = module(batch.images)
    target = final.detach()
    loss = F.cross_entropy(final, batch.labels)
    for each in logits:
        p, q = (target / 3).softmax(1), (each / 3).log_softmax(1)
        loss = loss + 0.9 * F.cross_entropy(each, batch.labels) + 0.1 * 9 * (p * (p.log() - q)).sum(1).mean()
    last = seen["student.net.relu4"].mean(dim=(2, 3)).detach()
    loss = loss + 0.01 * sum(((last - seen[name]) ** 2).sum(1).mean() for name in heads)
    expected = torch.autograd.grad(loss, list(module.parameters()))
    before = [parameter.detach().clone() for parameter in module.parameters()]
    stage.step(stage, batch)
    for old, new, gradient in zip(before, module.parameters(), expected, strict=True):
        assert torch.allclose(new, old - gradient, atol=1e-5)


def test_the_last_map_is_compared_with_what_enters_the_last_layer_of_each_head() -> None:
    example = some_images()[0]
    student = run_with().network("student")
    module = with_heads(student, ["net.pool1", "net.pool2"], "separable", example, CLASSES)
    compared = Compared.of(module, example)
    assert compared.final == "student.net.relu4"
    with recording(module, compared.layers) as seen:
        _, logits = module(example)
    for head, layer, expected in zip(module.heads, compared.heads, logits, strict=True):
        assert isinstance(head, nn.Sequential)
        assert torch.allclose(head[-1](seen[layer]), expected, atol=1e-6)
        assert seen[layer].shape[1] == seen[compared.final].shape[1]


def test_heads_on_vectors_have_nothing_to_compare() -> None:
    stage = stage_of(OwnTeacher(epochs=1), "lenet300")
    assert Compared.of(headed(stage), some_images()[0]) == Compared()
    assert execute(iter([stage]), Monitor()) is stage.target


def test_what_remains_is_the_student_alone_and_no_teacher_was_asked() -> None:
    report = rc.run(
        data="glyphs:classes=3,size=8,train=96,test=12,extra=0",
        model="blocknet:width=0.25",
        teacher="plain:epochs=0",
        student="self:epochs=1",
        access="none",
        eps=0.1,
    )
    assert report.queries.images == 0
    assert report.student.size.parameters == report.teacher.size.parameters


def test_a_network_that_names_no_taps_needs_layers_and_no_features() -> None:
    bare = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, CLASSES))
    assert "of the two taps that are needed it has 0" in (OwnTeacher().unsupported(bare) or "")
    assert "set the option `features` to 0" in (OwnTeacher(taps=("1",)).unsupported(bare) or "")
    strategy = OwnTeacher(taps=("1",), features=0, epochs=1)
    assert strategy.unsupported(bare) is None
    execute(strategy.plan(bare, NOBODY, toy_run("student")), Monitor())
    assert bare(some_images()[0]).shape == (12, CLASSES)


def test_a_teacher_that_would_be_there_is_not_asked() -> None:
    oracle = ModelOracle(trained_network(epochs=1), Access.WHITE)
    run = run_with()
    execute(OwnTeacher(epochs=1).plan(run.network("student"), oracle, run), Monitor())
    assert oracle.queries.images == 0

"""Where the teacher enters, what stands in for labels, and the published settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest
import torch
from rcframe_skeptical.headed import HeadedStudent
from rcframe_skeptical.student import Skeptical, SkepticalEnsemble
from torch import Tensor, nn

import rcframe as rc
from rcframe import Access, Data, ModelOracle, RequestError, Run, Stage, StudentStrategy
from rcframe.choice import parse_choice
from rcframe.registry import registry
from rcframe.testing.toys import toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor


def run_at(level: Data = Data.LABELLED) -> Run:
    return attrs.evolve(toy_run("student", level), model=parse_choice("blocknet:width=0.5", "model"))


def stage_of(strategy: StudentStrategy) -> Stage:
    run = run_at(strategy.data)
    return next(strategy.plan(run.network("student"), ModelOracle(trained_network(), Access.LOGIT), run))


def weights(spec: str) -> dict[str, Tensor]:
    """Return the weights of a student after two epochs, by the name of the layer in the student."""
    strategy = registry().make("student", f"{spec}epochs=2,batch_size=32")
    assert isinstance(strategy, StudentStrategy)
    network = execute(iter([stage_of(strategy)]), Monitor())
    assert network is not None
    return dict(network.state_dict())


def test_a_teacher_that_enters_at_the_end_of_a_network_without_heads_is_plain_distillation() -> None:
    pytest.importorskip("rcframe_distill")
    ours, theirs = weights("skeptical:tap=output,deeper=,gammas=1+1+0,"), weights("kd:")
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())


@pytest.mark.parametrize(("tap", "heads"), [("1", 3), ("2", 3), ("3", 3), ("output", 3)])
def test_the_teacher_enters_a_self_distilling_student_at_any_depth(tap: str, heads: int) -> None:
    """Analysis A2 of the paper: only the place of the teacher's signal differs."""
    strategy = Skeptical(tap=tap, deeper=("others",), gammas=(1.0, 0.0, 0.0), head="plain", alpha=1.0)
    stage = stage_of(strategy)
    assert isinstance(stage.module, HeadedStudent)
    assert len(stage.module.heads) == heads
    stage.begin()
    stage.step(stage, next(stage.batches.epoch(0)))
    reached = {name.split(".")[2] for name in moved_by_the_teacher(stage.module) if name.startswith("student.")}
    deepest = {"1": "bn1", "2": "bn2", "3": "bn3", "output": "fc1"}[tap]
    convolutions = [name for name in ("bn1", "bn2", "bn3", "bn4", "fc1") if name in reached]
    assert convolutions[-1] == deepest


def moved_by_the_teacher(module: nn.Module) -> set[str]:
    return {
        name
        for name, parameter in module.named_parameters()
        if parameter.grad is not None and bool(parameter.grad.any())
    }


class Told(Monitor):
    """Keeps the metrics of every epoch."""

    def __init__(self) -> None:
        self.metrics: list[dict[str, float]] = []

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        self.metrics.append(dict(metrics))


@pytest.mark.parametrize("options", [{"labels": False}, {"images": "extra"}, {"labels": False, "images": "both"}])
def test_students_that_read_no_labels_say_so(options: dict[str, Any]) -> None:
    strategy = Skeptical(**options)
    assert strategy.data is Data.INPUTS
    assert Access.LABEL in strategy.access


def test_without_labels_the_student_learns_what_the_teacher_answers() -> None:
    """The run hands out no labels, so that reading one would fail."""
    told = Told()
    execute(iter([stage_of(Skeptical(labels=False, head="plain", epochs=15, lr=5e-3, temperature=1.0))]), told)
    assert told.metrics[-1]["accuracy"] > 0.9
    assert told.metrics[-1]["shallow_accuracy"] > 0.9


def test_labels_cannot_be_learned_from_first_and_not_read() -> None:
    with pytest.raises(RequestError, match=r"from labels alone for 2 epochs, but labels=false: leave out one"):
        Skeptical(labels=False, delay=2).unsupported(run_at().network("student"))


@pytest.mark.parametrize("extra", ["skeptical", "skeptical-e"])
def test_a_student_learns_on_extra_images(extra: str) -> None:
    report = rc.run(
        data="glyphs:classes=3,size=8,train=64,test=12,extra=32",
        model="blocknet:width=0.25",
        teacher="plain:epochs=1",
        student=f"{extra}:images=extra,epochs=2,batch_size=16",
        eps=0.1,
    )
    assert report.queries.images == 32


@pytest.mark.parametrize(
    ("preset", "temperature", "epochs", "milestones", "decay"),
    [
        ("cifar10", 4, 160, (80, 120), 0.1),
        ("cifar100", 20, 200, (60, 120, 160), 0.2),
        ("tiny-imagenet", 20, 200, (60, 120, 160), 0.2),
    ],
)
@pytest.mark.parametrize("name", ["skeptical", "skeptical-e"])
def test_presets_are_the_settings_shared_in_the_field(
    name: str, preset: str, temperature: float, epochs: int, milestones: tuple[int, ...], decay: float
) -> None:
    strategy = registry().make("student", f"{name}:preset={preset}")
    assert isinstance(strategy, SkepticalEnsemble if name == "skeptical-e" else Skeptical)
    assert (strategy.temperature, strategy.epochs, strategy.milestones) == (temperature, epochs, milestones)
    assert (strategy.decay, strategy.alpha, strategy.batch_size) == (decay, 0.9, 128)
    sgd = (strategy.optimizer, strategy.lr, strategy.momentum, strategy.weight_decay, strategy.schedule)
    assert sgd == ("sgd", 0.1, 0.9, 5e-4, "steps")
    assert (strategy.tap, strategy.delay, strategy.head) == ("auto", 0, "separable")

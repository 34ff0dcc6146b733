from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rcframe.data.batches import NoData
from rcframe.data.images import Batch
from rcframe.errors import RunFailed
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.observer import Observer
from rcframe.training.stage import MakeOptimizer, Stage, snapshot

START = 3.0


class Point(nn.Module):
    """One number, and another that takes no gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(START))
        self.fixed = nn.Parameter(torch.tensor(1.0), requires_grad=False)


class Diary(Observer):
    """Writes down what happens, with the value and gradient it finds."""

    def __init__(self, name: str, lines: list[str], weight: float = 0.0) -> None:
        self.name, self.lines, self.weight = name, lines, weight

    def _write(self, stage: Stage, what: str) -> None:
        value = stage.target.get_parameter("value")
        gradient = "none" if value.grad is None else f"{float(value.grad):g}"
        self.lines.append(f"{self.name} {what}: value {float(value.detach()):g}, gradient {gradient}")

    def begin(self, stage: Stage) -> None:
        assert stage.optimizer is not None
        self._write(stage, "begin")

    def penalty(self, stage: Stage) -> Tensor | float:
        self._write(stage, "penalty")
        return self.weight * stage.target.get_parameter("value")

    def before_update(self, stage: Stage) -> None:
        self._write(stage, "before")

    def after_update(self, stage: Stage) -> None:
        self._write(stage, "after")

    def epoch_end(self, stage: Stage, epoch: int) -> None:
        self._write(stage, f"end of {epoch}")


def descent(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.5)


def square(stage: Stage, batch: Batch) -> None:
    """One step on value**2: the gradient is twice the value."""
    stage.update(stage.target.get_parameter("value") ** 2)


def stage_of(
    target: nn.Module,
    step: Callable[[Stage, Batch], None] = square,
    observers: tuple[Observer, ...] = (),
    module: nn.Module | None = None,
    make_optimizer: MakeOptimizer = descent,
    name: str = "point",
) -> Stage:
    return Stage(
        name=name,
        target=target,
        module=target if module is None else module,
        step=step,
        epochs=1,
        batches=NoData(1),
        make_optimizer=make_optimizer,
        observers=list(observers),
    )


def test_observers_act_in_order_and_each_sees_what_it_is_promised() -> None:
    lines: list[str] = []
    execute(iter([stage_of(Point(), observers=(Diary("a", lines), Diary("b", lines)))]), Monitor())
    assert lines == [
        "a begin: value 3, gradient none",
        "b begin: value 3, gradient none",
        "a penalty: value 3, gradient none",
        "b penalty: value 3, gradient none",
        "a before: value 3, gradient 6",
        "b before: value 3, gradient 6",
        "a after: value 0, gradient 6",
        "b after: value 0, gradient 6",
        "a end of 0: value 0, gradient 6",
        "b end of 0: value 0, gradient 6",
    ]


def test_penalties_are_added_to_the_loss_but_not_to_its_metric() -> None:
    lines: list[str] = []
    stage = stage_of(Point(), observers=(Diary("a", lines, weight=1.0), Diary("b", lines, weight=-3.0)))
    stage.begin()
    square(stage, Batch())
    assert "a before: value 3, gradient 4" in lines
    assert stage.means.read() == {"loss": 9.0}


def test_gradients_that_another_player_left_are_cleared_first() -> None:
    target = Point()
    stage = stage_of(target)
    stage.begin()
    target.value.grad = torch.tensor(100.0)
    square(stage, Batch())
    assert float(target.value.detach()) == 0.0


def test_a_step_may_update_several_times_and_mentions_metrics() -> None:
    def twice(stage: Stage, batch: Batch) -> None:
        for _ in range(2):
            value = stage.target.get_parameter("value")
            stage.update(value**2 / 2, size=value.detach().clone(), count=4.0)

    target = Point()
    stage = stage_of(target, twice)
    stage.begin()
    twice(stage, Batch())
    assert float(target.value.detach()) == START / 4
    assert stage.means.read() == {"loss": (4.5 + 1.125) / 2, "size": 2.25, "count": 4.0}


def test_only_parameters_that_take_gradients_are_optimized_and_each_once() -> None:
    received: list[nn.Parameter] = []

    def keep(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        received.extend(parameters)
        return descent(parameters)

    target, head = Point(), nn.Linear(1, 1)
    stage_of(target, module=nn.ModuleList([target, head]), make_optimizer=keep).begin()
    assert [id(parameter) for parameter in received] == [id(target.value), id(head.weight), id(head.bias)]


def test_a_stage_without_parameters_runs_but_cannot_update() -> None:
    target = Point().requires_grad_(False)
    seen: list[Batch] = []
    stage = stage_of(target, lambda stage, batch: seen.append(batch))
    assert execute(iter([stage]), Monitor()) is target
    assert stage.optimizer is None
    assert seen == [Batch()]
    with pytest.raises(RunFailed, match="Stage `point` called update, but none of its parameters takes gradients"):
        stage.update(torch.zeros(()))


def drawn() -> tuple[float, float, float]:
    return float(torch.rand(())), random.random(), float(np.random.rand())


def test_a_stage_draws_from_its_seed_and_name_whatever_was_drawn_before() -> None:
    stage_of(Point()).begin()
    first = drawn()
    stage_of(Point()).begin()
    assert drawn() == first
    stage_of(Point(), name="other").begin()
    assert not set(drawn()) & set(first)


def test_a_batch_that_was_taken_is_behind_the_position() -> None:
    stage = stage_of(Point())
    stage.begin()
    stage.take(Batch())
    assert (stage.epoch, stage.batch, float(stage.target.get_parameter("value").detach())) == (0, 1, 0.0)


def test_an_epoch_ends_with_fresh_means_at_the_next_position_and_leaves_its_metrics() -> None:
    stage = stage_of(Point())
    stage.begin()
    stage.take(Batch())
    metrics = {"loss": 9.0, "gap": 0.5}
    stage.end_epoch(metrics)
    assert (stage.epoch, stage.batch, stage.means.read()) == (1, 0, {})
    metrics.clear()
    stage.end_epoch({"loss": 4.0})
    assert stage.history == [{"loss": 9.0, "gap": 0.5}, {"loss": 4.0}]


def test_a_finished_stage_leaves_the_generators_alike_whatever_was_drawn_in_it() -> None:
    after = []
    for times in (1, 5):
        stage = stage_of(Point())
        stage.begin()
        torch.rand(times), [random.random() for _ in range(times)], np.random.rand(times)
        stage.finish()
        after.append(drawn())
    assert after[0] == after[1]
    stage_of(Point(), name="other").finish()
    assert not set(drawn()) & set(after[0])
    stage_of(Point()).begin()
    assert not set(drawn()) & set(after[0]), "what comes after a stage must not repeat what it drew"


def test_a_snapshot_does_not_change_with_later_steps() -> None:
    stage = stage_of(Point(), make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9))
    stage.begin()
    square(stage, Batch())
    saved = snapshot(stage)
    kept = {name: value.clone() for name, value in saved["target"].items() if isinstance(value, Tensor)}
    square(stage, Batch())
    assert not torch.equal(stage.target.get_parameter("value"), kept["value"])
    assert saved["target"] == kept
    stage.load_state_dict(saved)
    assert torch.equal(stage.target.get_parameter("value"), kept["value"])


def test_a_state_with_other_observers_is_refused() -> None:
    saved = stage_of(Point(), observers=(Observer(),))
    saved.begin()
    other = stage_of(Point())
    other.begin()
    with pytest.raises(ValueError, match="zip"):
        other.load_state_dict(snapshot(saved))

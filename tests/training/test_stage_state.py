"""What a stage leaves to be kept, and when that is not worth keeping."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.data.images import Batch
from rcframe.errors import RunFailed
from rcframe.evaluation.oracle import Queries
from rcframe.storage.state_file import read_state, write_state
from rcframe.storage.tree import flatten, unflatten
from rcframe.testing.toys import CLASSES, some_images, toy_run
from rcframe.training.loop import execute, train
from rcframe.training.masks import Masks
from rcframe.training.monitor import Monitor
from rcframe.training.observer import Observer
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

BATCHES = 4


def stage_of(step: Callable[[Stage, Batch], None] = supervised, **changes: Any) -> Stage:
    run = toy_run("teacher")
    stage = Training(**{"epochs": 2, "batch_size": 16, **changes}).stage(run, run.network("net"), step)
    stage.begin()
    return stage


def weights(stage: Stage) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in stage.target.named_parameters()}


# -- the finished state


class Plan:
    """Two stages that share a network, a head and a player that only the first one trains."""

    def __init__(self) -> None:
        run, training = toy_run("teacher"), Training(epochs=2, batch_size=16, schedule="cosine", optimizer="adam")
        self.network = run.network("net")
        torch.manual_seed(3)
        self.head, self.player = nn.Linear(CLASSES, CLASSES), nn.Linear(1, 1)
        self.masks = Masks({})
        self.later = torch.zeros(3)
        self.stages = self._plan(run, training)

    def _plan(self, run: Any, training: Training) -> Iterator[Stage]:
        yield training.stage(
            run,
            self.network,
            self._first,
            module=nn.ModuleList([self.network, self.head]),
            players={"player": self.player},
            observers=[self.masks],
        )
        assert not self.network.training
        # What a plan draws between its stages, and what it makes of them.
        self.later = torch.rand(3)
        with torch.no_grad():
            self.network.get_parameter("net.fc2.bias").add_(self.later)
        self.masks.alive = {"net.fc2.bias": torch.rand(3) < 0.5}
        yield training.stage(run, self.network, self._second, observers=[Masks(self.masks.alive)])

    def _first(self, stage: Stage, batch: Batch) -> None:
        stage.update(F.cross_entropy(self.head(self.network(batch.images)), batch.labels))
        with torch.no_grad():
            self.player.weight.add_(torch.rand(()))

    def _second(self, stage: Stage, batch: Batch) -> None:
        logits = self.head(self.network(batch.images)) * self.player.weight
        stage.update(F.cross_entropy(logits, batch.labels))

    def result(self) -> dict[str, Tensor]:
        return {**self.network.state_dict(), "head": self.head.weight.detach(), "player": self.player.weight.detach()}


def test_a_plan_goes_on_from_final_states_to_the_same_bits(tmp_path: Path) -> None:
    whole = Plan()
    for stage in whole.stages:
        stage.begin()
        train(stage, Monitor())
        write_state(tmp_path / stage.name.replace("/", "-"), stage.final_state(), {})
        stage.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["teacher-train", "teacher-train-2"]

    again = Plan()
    torch.manual_seed(77)
    first = next(again.stages)
    first.begin()
    first.load_state_dict(cast("dict[str, object]", read_state(tmp_path / "teacher-train")))
    first.finish()
    execute(again.stages, Monitor())
    assert torch.equal(again.later, whole.later)
    for name, value in whole.result().items():
        assert torch.equal(again.result()[name], value), name


def test_the_final_state_leaves_out_what_only_this_stage_needs() -> None:
    stage = stage_of(schedule="cosine")
    train(stage, Monitor())
    whole, final = stage.state_dict(), stage.final_state()
    assert (final["optimizer"], final["schedule"], final["scaler"]) == (None, None, None)
    assert whole["optimizer"] is not None
    assert whole["schedule"] is not None
    assert set(final) == set(whole)
    assert (final["epoch"], final["batch"], final["history"]) == (2, 0, stage.history)
    assert len(stage.history) == 2


def test_a_stage_with_a_final_state_is_over_and_has_its_history() -> None:
    trained = stage_of()
    train(trained, Monitor())
    recalled = stage_of()
    recalled.load_state_dict({**trained.final_state()})
    assert recalled.history == trained.history
    assert (recalled.epoch, recalled.batch) == (2, 0)
    train(recalled, Monitor())
    assert all(torch.equal(weights(recalled)[name], value) for name, value in weights(trained).items())


def test_the_history_of_a_continued_stage_does_not_grow_in_the_state_it_came_from() -> None:
    stage = stage_of()
    state = stage.state_dict()
    other = stage_of()
    other.load_state_dict({**state})
    train(other, Monitor())
    assert (len(state["history"]), len(other.history)) == (0, 2)


def test_the_state_can_be_written_down_at_any_batch() -> None:
    def counting() -> Stage:
        stage = stage_of(schedule="cosine", optimizer="sgd")
        stage.players["queries"] = Queries()
        return stage

    stage, asked = counting(), 0
    for batch in stage.batches.epoch(0):
        stage.take(batch)
        asked += 3
        stage.players["queries"].load_state_dict({"images": asked})
        plain, tensors = flatten(stage.state_dict())
        other = counting()
        read = unflatten(json.loads(json.dumps(plain)), [tensor.clone() for tensor in tensors])
        other.load_state_dict(cast("dict[str, object]", read))
        assert other.batch == stage.batch
        assert other.players["queries"] == Queries(images=asked)
        assert other.means.read() == stage.means.read()
        assert all(torch.equal(weights(other)[name], value) for name, value in weights(stage).items())


# -- broken states


class Losses:
    """A step whose losses are given; they move nothing, unless they are no numbers."""

    def __init__(self, *losses: float) -> None:
        self._losses = iter(losses)
        self.before: dict[str, Tensor] = {}

    def __call__(self, stage: Stage, batch: Batch) -> None:
        self.before = weights(stage)
        loss = next(self._losses)
        stage.update(stage.target.get_parameter("net.fc2.bias").sum() * (loss if loss != loss else 0) + loss)


@pytest.mark.parametrize(
    ("losses", "place", "metrics"),
    [
        ([float("nan")], "epoch 1 of 2, batch 1 of 4", "none"),
        ([1, 2, float("nan")], "epoch 1 of 2, batch 3 of 4", "loss 1.5"),
        ([1, 1, 1, 5, float("nan")], "epoch 2 of 2, batch 1 of 4", "loss 2"),
        ([1, 1, 1, 1, 4, 5, 6, float("inf")], "epoch 2 of 2, batch 4 of 4", "loss 5"),
    ],
)
def test_a_broken_loss_is_named_with_its_step_and_moves_no_weight(
    losses: list[float], place: str, metrics: str
) -> None:
    step = Losses(*losses)
    stage = stage_of(step)
    with pytest.raises(RunFailed) as raised:
        train(stage, Monitor())
    assert str(raised.value) == (
        f"Stage `teacher/train` broke down in {place}: its loss is {losses[-1]}. Last finite metrics: {metrics}. "
        f"Try a lower learning rate (`lr`), or look for divisions and logarithms of zero in the method."
    )
    assert all(torch.equal(weights(stage)[name], value) for name, value in step.before.items())


def test_metrics_that_broke_before_the_loss_are_not_called_finite() -> None:
    def step(stage: Stage, batch: Batch) -> None:
        late = stage.epoch == 1
        stage.update(torch.ones((), requires_grad=True) * (float("nan") if late and stage.batch else 1), gap=gap(late))

    def gap(late: bool) -> float:
        return float("inf") if late else 0.25

    with pytest.raises(RunFailed, match=r"epoch 2 of 2, batch 2 of 4: .* Last finite metrics: loss 1, gap 0\.25\. "):
        train(stage_of(step), Monitor())


def test_sound_stages_pass_the_check_at_every_batch() -> None:
    stage = stage_of()
    for batch in stage.batches.epoch(0):
        stage.check()
        stage.take(batch)
    stage.check()


def poison(stage: Stage) -> None:
    with torch.no_grad():
        stage.target.get_parameter("net.fc2.weight")[1, 2] = float("inf")


def test_weights_that_are_no_numbers_are_not_worth_keeping() -> None:
    stage = stage_of()
    for batch in list(stage.batches.epoch(0))[:3]:
        stage.take(batch)
    poison(stage)
    with pytest.raises(
        RunFailed,
        match=r"`teacher/train` broke down by epoch 1 of 2, batch 3: the weights `net\.fc2\.weight` are no numbers",
    ):
        stage.check()


def test_weights_that_break_in_the_last_step_end_the_stage_badly() -> None:
    def step(stage: Stage, batch: Batch) -> None:
        supervised(stage, batch)
        if (stage.epoch, stage.batch) == (1, BATCHES - 1):
            poison(stage)

    with pytest.raises(RunFailed, match=r"`teacher/train` broke down by its end: the weights `net\.fc2\.weight` are"):
        train(stage_of(step), Monitor())


# -- shares of a batch


class Gradients(Observer):
    """Adds up the gradients of all updates, and adds a penalty of its own."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}

    def penalty(self, stage: Stage) -> Tensor:
        return 0.5 * torch.stack([p.square().sum() for p in stage.target.parameters()]).sum()

    def before_update(self, stage: Stage) -> None:
        for name, parameter in stage.target.named_parameters():
            assert parameter.grad is not None
            self.sums[name] = self.sums.get(name, torch.zeros(())) + parameter.grad


def gradients_and_means(*batches: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The mean gradient over processes that each see one of the batches, and the means of the metrics."""
    seen = Gradients()
    stage = stage_of(optimizer="sgd", lr=1e-30)
    stage.observers.append(seen)
    for batch in batches:
        stage.take(batch)
    return {name: value / len(batches) for name, value in seen.sums.items()}, stage.means.read()


@pytest.mark.parametrize("sizes", [(3, 2), (2, 2, 1), (5,)])
def test_parts_of_a_batch_weigh_as_much_as_their_images(sizes: tuple[int, ...]) -> None:
    x, y = some_images(5)
    whole = gradients_and_means(Batch(x, y))
    parts, count = [], len(sizes)
    for part_x, part_y in zip(torch.split(x, list(sizes)), torch.split(y, list(sizes)), strict=True):
        parts.append(attrs.evolve(Batch(part_x, part_y), share=count * len(part_x) / len(x)))
    shared = gradients_and_means(*parts)
    for name, value in whole[0].items():
        torch.testing.assert_close(shared[0][name], value, rtol=1e-4, atol=1e-6)
    assert shared[1] == pytest.approx(whole[1], rel=1e-5)
    assert set(whole[1]) == {"loss", "accuracy"}

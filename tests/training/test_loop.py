from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.data.batches import Batches
from rcframe.data.images import Batch
from rcframe.errors import RunFailed
from rcframe.testing.toys import CLASSES, toy_images, toy_run
from rcframe.training.loop import execute, train
from rcframe.training.masks import Masks, keep_largest, prunable
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage, StageState, snapshot
from rcframe.training.steps import supervised

IMAGES = 22
SIZE = 4


class Told(Monitor):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.images: list[int] = []
        self.metrics: list[dict[str, float]] = []
        self.rates: list[float] = []

    def stage_started(self, stage: Stage) -> None:
        self.events.append(f"start {stage.name}")

    def batch_done(self, stage: Stage, images: int) -> None:
        self.images.append(images)

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        self.events.append(f"epoch {stage.epoch} of {stage.name}")
        self.metrics.append(dict(metrics))
        if stage.optimizer:
            self.rates.append(stage.optimizer.param_groups[0]["lr"])

    def stage_done(self, stage: Stage) -> None:
        self.events.append(f"done {stage.name}")


class Stopped(Exception):
    """Kills a training at a chosen batch."""


class Killer(Monitor):
    """Raises after a number of batches, as a power cut would."""

    def __init__(self, after: int) -> None:
        self.left = after

    def batch_done(self, stage: Stage, images: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise Stopped


def dropping() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Dropout(), nn.Linear(12, CLASSES))


def batches(count: int = IMAGES, seed: int = 0) -> Batches:
    return Batches(toy_images(count, 1), SIZE, seed, augment=("flip", "crop"))


def stage_of(
    network: nn.Module, step: Callable[[Stage, Batch], None] = supervised, count: int = IMAGES, **options: Any
) -> Stage:
    training = Training(**{"epochs": 2, "batch_size": SIZE, "optimizer": "sgd", "lr": 0.05, **options})
    return training.stage(toy_run("teacher"), network, step, batches=batches(count))


def test_the_loop_does_what_the_same_loop_written_by_hand_does() -> None:
    ours, theirs = dropping(), dropping()
    stage = stage_of(ours, momentum=0.9, weight_decay=0.01)
    execute(iter([stage]), Monitor())

    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    theirs.train()
    with torch.random.fork_rng():
        stage_of(theirs).begin()
        for epoch in range(2):
            for batch in batches().epoch(epoch):
                optimizer.zero_grad()
                F.cross_entropy(theirs(batch.images), batch.labels).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value), name


def test_stages_are_walked_in_order_and_the_last_target_is_returned() -> None:
    told, first, second = Told(), dropping(), dropping()
    begun: list[str] = []

    def plan() -> Iterator[Stage]:
        before = first.get_parameter("1.weight").detach().clone()
        run = toy_run("teacher")
        yield Training(epochs=2).stage(run, first, supervised, name="one", batches=batches())
        begun.append("moved" if not torch.equal(first.get_parameter("1.weight"), before) else "still")
        yield Training(epochs=1).stage(run, second, supervised, name="two", batches=batches())

    assert execute(plan(), told) is second
    assert begun == ["moved"], "a stage must be over before the plan goes on"
    one, two = "teacher/one", "teacher/two"
    assert told.events == [
        *(f"start {one}", f"epoch 0 of {one}", f"epoch 1 of {one}", f"done {one}"),
        *(f"start {two}", f"epoch 0 of {two}", f"done {two}"),
    ]


def test_a_stage_may_leave_more_than_its_target() -> None:
    network = dropping()
    stage = stage_of(network, epochs=0)
    stage.result = nn.Sequential(network, nn.Identity())
    assert execute(iter([stage]), Monitor()) is stage.result


def test_a_plan_without_stages_has_no_target() -> None:
    assert execute(iter(()), Monitor()) is None


def test_no_epoch_trains_nothing_and_still_gives_the_target() -> None:
    network, told = dropping(), Told()
    before = copy.deepcopy(network.state_dict())
    assert execute(iter([stage_of(network, epochs=0)]), told) is network
    assert told.images == []
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_networks_train_during_the_stage_and_evaluate_after_it() -> None:
    network, around = dropping().eval(), nn.Sequential(nn.Identity()).eval()
    modes: list[bool] = []

    def watch(stage: Stage, batch: Batch) -> None:
        modes.extend((network[3].training, around.training))

    stage = Training(epochs=1).stage(toy_run("teacher"), network, watch, module=around, batches=batches())
    execute(iter([stage]), Monitor())
    assert modes
    assert all(modes)
    assert not any(part.training for part in (*network.modules(), *around.modules()))


def test_an_uneven_last_batch_is_trained_on_and_counted() -> None:
    told = Told()
    execute(iter([stage_of(dropping(), epochs=1)]), told)
    assert told.images == [4, 4, 4, 4, 4, 2]


def test_a_single_image_left_over_joins_the_batch_before_it() -> None:
    told = Told()
    execute(iter([stage_of(dropping(), count=9, epochs=1)]), told)
    assert told.images == [4, 5]


def test_metrics_are_means_over_the_batches_of_each_epoch() -> None:
    told, losses = Told(), iter([1.0, 2.0, 3.0, 10.0, 20.0, 60.0])

    def step(stage: Stage, batch: Batch) -> None:
        stage.update(stage.target.get_parameter("1.weight").sum() * 0 + next(losses))

    execute(iter([stage_of(dropping(), step, count=12)]), told)
    assert told.metrics == [{"loss": 2.0}, {"loss": 30.0}]


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({"schedule": "constant"}, [0.05] * 4),
        ({"schedule": "steps", "milestones": (1, 3), "decay": 0.1}, [0.05, 0.005, 0.005, 0.0005]),
        ({"schedule": "cosine"}, [0.05, 0.05 * (1 + 0.5**0.5) / 2, 0.025, 0.05 * (1 - 0.5**0.5) / 2]),
    ],
    ids=["constant", "steps", "cosine"],
)
def test_each_epoch_is_trained_at_its_learning_rate(options: dict[str, Any], rates: list[float]) -> None:
    told = Told()
    execute(iter([stage_of(dropping(), epochs=4, **options)]), told)
    assert told.rates == pytest.approx(rates)


def test_cosine_ends_where_the_stage_ends_also_when_it_was_shortened() -> None:
    told = Told()
    stage = stage_of(dropping(), epochs=50, schedule="cosine")
    stage.epochs = 2
    execute(iter([stage]), told)
    assert told.rates == pytest.approx([0.05, 0.025])


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run_and_names_the_stage(poison: float) -> None:
    def step(stage: Stage, batch: Batch) -> None:
        stage.update(stage.target.get_parameter("1.weight").sum() * poison)

    words = r"Stage `teacher/train` broke down in epoch 1 of 2, batch 1 of 6: its loss is (nan|-?inf)\. "
    with pytest.raises(RunFailed, match=words):
        execute(iter([stage_of(dropping(), step)]), Monitor())


def test_a_metric_that_is_no_number_stops_the_run_at_the_end_of_its_epoch() -> None:
    def step(stage: Stage, batch: Batch) -> None:
        stage.update(stage.target.get_parameter("1.weight").sum() * 0, gap=float("nan") if stage.epoch == 1 else 1.0)

    told = Told()
    with pytest.raises(RunFailed, match=r"Stage `teacher/train` broke down in epoch 2 of 3: its gap is nan\."):
        execute(iter([stage_of(dropping(), step, epochs=3)]), told)
    assert told.metrics == [{"loss": 0.0, "gap": 1.0}]


class TwoPlayers:
    """A training where everything that can move moves, and two networks with an optimizer each."""

    def __init__(self) -> None:
        self.network, self.rival = dropping(), nn.Linear(64, 64)
        self.rival_optimizer = torch.optim.Adam(self.rival.parameters(), lr=0.01)
        self.masks = Masks(keep_largest(prunable(self.network), 0.5))
        training = Training(
            epochs=3,
            batch_size=SIZE,
            optimizer="sgd",
            lr=0.05,
            momentum=0.9,
            weight_decay=0.01,
            schedule="steps",
            milestones=(1,),
        )
        self.stage = training.stage(
            toy_run("teacher"),
            self.network,
            self.step,
            batches=batches(),
            observers=[self.masks],
            players={"rival": self.rival, "rival optimizer": self.rival_optimizer},
        )

    def step(self, stage: Stage, batch: Batch) -> None:
        noise = torch.rand_like(batch.images).flatten(1)
        seen = (batch.images.flatten(1) + 0.1 * self.rival(noise)).view_as(batch.images)
        loss = F.cross_entropy(stage.module(seen), batch.labels)
        stage.update(loss, noise=noise.mean())
        self.rival_optimizer.zero_grad()
        harm = -F.cross_entropy(stage.module((seen - noise.view_as(seen)).detach()), batch.labels)
        (harm + self.rival(noise).square().mean()).backward()
        self.rival_optimizer.step()

    def result(self) -> dict[str, Tensor]:
        return {**self.network.state_dict(), **{f"rival.{k}": v for k, v in self.rival.state_dict().items()}}


def killed_after(count: int) -> StageState:
    players = TwoPlayers()
    players.stage.begin()
    with pytest.raises(Stopped):
        train(players.stage, Killer(count))
    return snapshot(players.stage)


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")
@pytest.mark.parametrize("after", [1, 4, 6, 9, 17], ids=lambda after: f"{after} batches")
def test_a_killed_stage_goes_on_bit_for_bit(after: int) -> None:
    whole, told = TwoPlayers(), Told()
    execute(iter([whole.stage]), told)

    saved = killed_after(after)
    resumed, told_after = TwoPlayers(), Told()
    torch.manual_seed(999)
    resumed.stage.begin()
    resumed.stage.load_state_dict(saved)
    train(resumed.stage, told_after)

    for name, value in whole.result().items():
        assert torch.equal(resumed.result()[name], value), name
    assert told_after.metrics == told.metrics[len(told.metrics) - len(told_after.metrics) :]
    assert told_after.rates == told.rates[len(told.rates) - len(told_after.rates) :]
    assert len(told_after.images) == len(told.images) - after


@pytest.mark.parametrize("part", ["optimizer", "schedule", "observers", "players", "generators", "means", "module"])
def test_every_part_of_the_state_is_needed(part: str) -> None:
    whole = TwoPlayers()
    whole.stage.begin()
    fresh = snapshot(whole.stage)
    told, told_without = Told(), Told()
    train(whole.stage, told)

    saved: dict[str, Any] = {**killed_after(9)}
    if part in fresh["processes"][0]:
        saved["processes"] = [{**saved["processes"][0], part: {**fresh["processes"][0]}[part]}]
    elif part == "observers":
        saved[part] = [{name: torch.ones_like(mask) for name, mask in whole.masks.alive.items()}]
    elif part == "module":
        saved["target"] = saved[part] = fresh["module"]
    else:
        saved[part] = {**fresh}[part]
    resumed = TwoPlayers()
    resumed.stage.begin()
    resumed.stage.load_state_dict(saved)
    train(resumed.stage, told_without)
    same = all(torch.equal(resumed.result()[name], value) for name, value in whole.result().items())
    assert not same or told_without.metrics[0] != told.metrics[-len(told_without.metrics)]

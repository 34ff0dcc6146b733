from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from rcframe_adversarial_training.collapse import CollapseWatch, collapsed
from rcframe_adversarial_training.fast import FastTeacher
from torch import Tensor, nn

from rcframe import Batch, Climb, RequestError, Stage, Threat
from rcframe.testing.toys import fingerprint, toy_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

HEALTHY = [(0.34, 0.33), (0.6, 0.5), (0.8, 0.62), (0.9, 0.7), (0.95, 0.5), (0.4, 0.08)]
COLLAPSING = [(0.34, 0.33), (0.6, 0.5), (0.97, 0.02), (0.98, 0.0)]


class Ear(Monitor):
    """Keeps what the user is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def said(self, text: str) -> None:
        self.told.append(text)


@pytest.mark.parametrize(("single", "iterated"), HEALTHY)
def test_a_healthy_training_has_not_collapsed(single: float, iterated: float) -> None:
    assert not collapsed(single, iterated)


@pytest.mark.parametrize(("single", "iterated"), [*COLLAPSING[2:], (0.6, 0.1), (1.0, 0.0)])
def test_withstanding_single_steps_alone_is_a_collapse(single: float, iterated: float) -> None:
    assert collapsed(single, iterated)


def test_a_network_that_withstands_nothing_has_not_collapsed() -> None:
    assert not collapsed(0.05, 0.0)
    assert not collapsed(0.0, 0.0)


def scripted(history: list[tuple[float, float]], stop: bool) -> tuple[Stage, list[float], Ear]:
    """A training whose accuracies are written beforehand; also the first weight after every epoch."""
    run, ear = toy_run("teacher"), Ear()
    network, weights = run.network("teacher"), list[float]()
    method = FastTeacher(epochs=len(history), batch_size=32, stop=stop)
    (stage,) = method.stages(network, run)
    (watch,) = stage.observers
    assert isinstance(watch, CollapseWatch)

    def look(stage: Stage) -> None:
        if stage.batch + 1 == len(stage.batches):
            weights.append(float(next(network.parameters()).flatten()[0].detach()))
            watch.judge(stage, *history[stage.epoch])

    watch.look = look  # type: ignore[method-assign]  # the measurements are the script's
    execute(iter([stage]), ear)
    return stage, weights, ear


def first_weight(stage: Stage) -> float:
    return float(next(stage.target.parameters()).flatten()[0].detach())


@pytest.mark.parametrize("stop", [False, True])
def test_a_healthy_history_is_left_alone(stop: bool) -> None:
    stage, weights, ear = scripted(HEALTHY, stop)
    assert not ear.told
    assert len(stage.history) == len(HEALTHY)
    assert first_weight(stage) == weights[-1]


def test_a_collapse_is_told_once_with_its_numbers() -> None:
    stage, weights, ear = scripted(COLLAPSING, stop=False)
    (told,) = ear.told
    assert "Stage `teacher/train` collapsed in epoch 3: of 64 training images, 97% withstand a single step" in told
    assert "2% several" in told
    assert "stop=true" in told
    assert len(stage.history) == len(COLLAPSING)
    assert first_weight(stage) == weights[-1]


def test_a_collapse_ends_training_with_the_weights_before_it_if_that_is_asked() -> None:
    stage, weights, ear = scripted(COLLAPSING, stop=True)
    assert len(stage.history) == 3
    assert len(set(weights)) == 3
    assert first_weight(stage) == weights[1]
    assert "ends with the weights of the last epoch before" in ear.told[0]


def test_a_training_that_was_never_good_has_nothing_to_go_back_to() -> None:
    stage, weights, ear = scripted([(0.9, 0.0), (0.95, 0.0)], stop=True)
    assert len(stage.history) == 2
    assert len(ear.told) == 1
    assert first_weight(stage) == weights[-1]


def test_a_training_that_was_stopped_early_stays_stopped_when_it_goes_on() -> None:
    stage, _, _ = scripted(COLLAPSING, stop=True)
    state = stage.state_dict()
    run = toy_run("teacher")
    (again,) = FastTeacher(epochs=len(COLLAPSING), batch_size=32, stop=True).stages(run.network("teacher"), run)
    again.begin()
    assert again.epochs == 4
    again.load_state_dict(state)
    assert again.epochs == again.epoch == 3


def test_every_epoch_ends_with_a_look() -> None:
    run = toy_run("teacher")
    (stage,) = FastTeacher(epochs=2, batch_size=16, eps=0.1).stages(run.network("teacher"), run)
    execute(iter([stage]), Monitor())
    assert [{"single_step_accuracy", "iterated_accuracy"} <= set(metrics) for metrics in stage.history] == [True] * 2
    assert all(0 <= metrics["iterated_accuracy"] <= 1 for metrics in stage.history)


class Dip(nn.Module):
    """Of one pixel, whose score dips within the ball: steps of 1.25 radii leap over what smaller ones walk into."""

    def forward(self, x: Tensor) -> Tensor:
        away = x.flatten(1).mean(1) - 0.5
        score = 0.5 - torch.exp(-(((away.abs() - 0.06) / 0.03) ** 2))
        return torch.stack([score, -score], dim=1)


def test_looking_finds_what_withstands_one_step_and_not_several() -> None:
    (stage,) = FastTeacher(epochs=1, batch_size=64).stages(trained_network(), toy_run("teacher"))
    stage.begin()
    images = Batch(torch.full((64, 1, 1, 1), 0.5), torch.zeros(64, dtype=torch.long))
    single = Climb(steps=1, step_size=0.125)
    CollapseWatch(Dip(), toy_run("teacher"), Threat(0.1), single, images, stop=False).look(stage)
    found = stage.means.read()
    assert found["single_step_accuracy"] > 0.5
    assert found["iterated_accuracy"] < 0.1


def test_watching_changes_no_training() -> None:
    found = set()
    for watch in (0, 16, 64):
        run = toy_run("teacher")
        network = run.network("teacher")
        execute(FastTeacher(epochs=2, batch_size=16, watch=watch).stages(network, run), Monitor())
        found.add(fingerprint(network))
    assert len(found) == 1


def test_what_nobody_watches_cannot_stop() -> None:
    with pytest.raises(RequestError, match="watch=0 leaves no images"):
        FastTeacher(stop=True, watch=0)


def test_only_the_last_batch_of_an_epoch_is_followed_by_a_look() -> None:
    (stage,) = FastTeacher(epochs=1, batch_size=16).stages(trained_network(), toy_run("teacher"))
    (watch,) = stage.observers
    assert isinstance(watch, CollapseWatch)
    stage.begin()
    looked = []
    for stage.batch in range(4):
        watch.look(stage)
        looked.append("iterated_accuracy" in stage.means.read())
    assert looked == [False, False, False, True]


def test_looking_leaves_the_network_as_it_was() -> None:
    network, run = trained_network().train(), toy_run("teacher")
    images = toy_images(16, 3).first(16)
    before = fingerprint(network)
    stage = next(iter(FastTeacher(epochs=1, batch_size=64).stages(network, run)))
    stage.begin()
    watch = CollapseWatch(network, run, Threat(0.1), Climb(steps=1), images, stop=True)
    watch.look(stage)
    assert fingerprint(network) == before
    assert all(parameter.grad is None for parameter in network.parameters())
    means: Mapping[str, float] = stage.means.read()
    assert set(means) == {"single_step_accuracy", "iterated_accuracy"}

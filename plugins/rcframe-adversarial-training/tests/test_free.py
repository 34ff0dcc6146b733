from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rcframe_adversarial_training.free import FreeTeacher, Perturbation
from torch import Tensor, nn

from rcframe import Batch, Observer, Stage, Threat
from rcframe.testing.toys import fingerprint, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor


class Updates(Observer):
    """Counts updates."""

    def __init__(self) -> None:
        self.count = 0

    def after_update(self, stage: Stage) -> None:
        self.count += 1


def stage_of(**options: object) -> Stage:
    run = toy_run("teacher")
    (stage,) = FreeTeacher(**options).stages(run.network("teacher"), run)  # type: ignore[arg-type]  # its own
    return stage


@pytest.mark.parametrize(("epochs", "replays", "passes"), [(8, 4, 2), (9, 4, 3), (1, 4, 1), (0, 4, 0), (3, 1, 3)])
def test_replays_are_paid_for_by_fewer_passes(epochs: int, replays: int, passes: int) -> None:
    updates = Updates()
    stage = stage_of(epochs=epochs, batch_size=16, replays=replays)
    stage.observers.append(updates)
    execute(iter([stage]), Monitor())
    assert len(stage.history) == passes
    assert updates.count == passes * replays * 4


def test_one_batch_is_learned_as_algorithm_1_says() -> None:
    """Against the algorithm written out: update, then move what is added by the sign of the same backward pass."""
    run, threat = toy_run("teacher"), Threat(0.1)
    method = FreeTeacher(epochs=3, batch_size=64, replays=3, optimizer="sgd", lr=0.1, momentum=0.0, eps=0.1)
    network, other = run.network("net"), run.network("net")
    (stage,) = method.stages(network, run)
    execute(iter([stage]), Monitor())
    (batch,) = run.batches(64, stage.name).epoch(0)
    delta = torch.zeros_like(batch.images)
    other.train()
    for _ in range(3):
        x = (batch.images + delta).clamp(0, 1).requires_grad_(True)
        parameters = list(other.parameters())
        gradients = torch.autograd.grad(F.cross_entropy(other(x), batch.labels), [*parameters, x])
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=False):
                parameter.sub_(0.1 * gradient)
            delta = (delta + threat.eps * gradients[-1].sign()).clamp(-threat.eps, threat.eps)
    for ours, theirs in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)
    carried = stage.players["perturbation"]
    assert isinstance(carried, Perturbation)
    assert float((carried.delta - delta).abs().max()) <= 1e-6


def test_the_perturbation_of_a_batch_is_where_the_next_one_starts() -> None:
    shown: list[Tensor] = []
    stage = stage_of(epochs=1, batch_size=16, replays=1, eps=0.1)

    class Watching(nn.Module):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: Tensor) -> Tensor:
            shown.append(x.detach().clone())
            logits: Tensor = self.net(x)
            return logits

    stage.module = Watching(stage.target)
    execute(iter([stage]), Monitor())
    clean = [batch.images for batch in stage.batches.epoch(0)]
    assert torch.equal(shown[0], clean[0])
    assert all(float((a - b).abs().max()) == pytest.approx(0.1) for a, b in zip(shown[1:], clean[1:], strict=True))


def test_perturbations_stay_within_the_radius_and_images_within_pixels() -> None:
    carried = Perturbation(torch.zeros(2, 1, 1, 2), Threat(0.1))
    x = torch.tensor([0.05, 0.95]).expand(2, 1, 1, 2)
    for _ in range(3):
        carried.climb(torch.tensor([-1.0, 1.0]).expand(2, 1, 1, 2), 0.07)
    assert torch.allclose(carried.delta, torch.tensor([-0.1, 0.1]).expand(2, 1, 1, 2))
    assert carried.applied(x).flatten().tolist() == [0, 1, 0, 1]


def test_smaller_and_larger_batches_take_what_there_is() -> None:
    carried = Perturbation(torch.full((2, 1, 1, 1), 0.05), Threat(0.1))
    assert carried.applied(torch.zeros(1, 1, 1, 1)).flatten().tolist() == pytest.approx([0.05])
    carried.climb(torch.ones(1, 1, 1, 1), 0.05)
    assert carried.delta.flatten().tolist() == pytest.approx([0.1, 0.05])
    assert carried.applied(torch.zeros(3, 1, 1, 1)).flatten().tolist() == pytest.approx([0.1, 0.05, 0.0])


def test_gradients_that_are_no_numbers_move_nothing_out_of_reach() -> None:
    carried = Perturbation(torch.zeros(1, 1, 1, 3), Threat(0.1))
    carried.climb(torch.tensor([[[[float("nan"), float("inf"), -1.0]]]]), 0.05)
    assert carried.delta.flatten().tolist() == pytest.approx([0.0, 0.05, -0.05])


def test_a_stage_that_is_stopped_between_batches_goes_on_with_its_perturbation() -> None:
    def walk(stage: Stage, batches: list[Batch]) -> None:
        stage.target.train()
        for batch in batches:
            stage.take(batch)

    whole, stopped, resumed = (stage_of(epochs=2, batch_size=16, replays=2) for _ in range(3))
    for stage in (whole, stopped, resumed):
        stage.begin()
    batches = list(whole.batches.epoch(0))
    walk(whole, batches)
    walk(stopped, batches[:2])
    state = stopped.state_dict()
    resumed.load_state_dict(state)
    walk(resumed, batches[2:])
    assert fingerprint(resumed.target) == fingerprint(whole.target)

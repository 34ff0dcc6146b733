from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack
from rcframe.data.images import Batch
from rcframe.errors import RequestError, RunFailed
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.options import component, option
from rcframe.testing.toys import CLASSES, fingerprint, some_images, toy_run, trained_network
from rcframe.training.attacked import AttackMode, InnerAttack
from rcframe.training.compute import Accelerated, Compute
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.randomness import seed_everything
from rcframe.training.settings import Optimization
from rcframe.training.stage import Preparation, Stage
from rcframe.training.steps import supervised

LINF = Threat(0.1)
#: What `Told` was asked and found, call by call.
SEEN: list[tuple[Tensor, Tensor]] = []


@component
class Ascent(Attack):
    """Two steps along the sign of the gradient, from a random point."""

    steps: int = option(default=2, help="Steps.")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        moved = threat.project(x + torch.empty_like(x).uniform_(-threat.eps / 2, threat.eps / 2), x)
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_(True)
            loss = F.cross_entropy(source.logits(moved), y, reduction="sum")
            moved = threat.project(moved + threat.eps / 2 * torch.autograd.grad(loss, moved)[0].sign(), x)
        return moved


@component
class Told(Attack):
    """Keeps the labels it is told and the logits it sees, and moves nothing."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        SEEN.append((y, source.logits(x)))
        return x


@component
class Wild(Attack):
    """Returns no numbers for the first image, and leaves the threat with all others."""

    access = Access.NONE

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        moved = x + 10
        moved[0] = float("nan")
        return moved


@component
class Cropping(Attack):
    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x[:, :, 1:]


@component
class Careless(Attack):
    """One step, by a backward pass that leaves gradients wherever they may go."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        x.requires_grad_(True)
        F.cross_entropy(source.logits(x), y).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        assert x.grad is not None
        return x + threat.eps * x.grad.sign()


@component
class Lazy(Attack):
    """Does nothing, unless it is asked to be thorough."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x

    def thorough(self) -> Attack:
        return Ascent()


class Normed(nn.Module):
    """Batch norm, dropout, and parts in either mode; its running statistics are far from those of any batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm, self.frozen, self.drop = nn.BatchNorm2d(1), nn.BatchNorm2d(1), nn.Dropout(0.5)
        self.last = nn.Linear(64, CLASSES)
        self.norm.running_mean = torch.full((1,), 5.0)
        self.last.bias.requires_grad_(False)
        self.train()
        self.frozen.eval()
        self.modes: set[tuple[bool, ...]] = set()

    def forward(self, x: Tensor) -> Tensor:
        self.modes.add(tuple(part.training for part in self.modules()))
        logits: Tensor = self.last(self.drop(self.frozen(self.norm(x)).flatten(1)))
        return logits


def inner(attack: Attack, network: nn.Module, threat: Threat = LINF, mode: AttackMode = "eval") -> InnerAttack:
    return InnerAttack(attack=attack, network=network, threat=threat, mode=mode)


def losses(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return F.cross_entropy(network(x), y, reduction="none")


# -- what comes out


@pytest.mark.parametrize("threat", [LINF, Threat(0.5, "l2")], ids=str)
def test_attacked_images_are_worse_for_the_network_and_inside_the_threat(threat: Threat) -> None:
    network, (x, y) = trained_network(), some_images()
    moved = inner(Ascent(), network, threat).craft(x, y)
    assert (losses(network, moved, y) > losses(network, x, y)).all()
    assert float(threat.distance(moved, x).max()) <= threat.eps * (1 + 1e-5)
    assert (float(moved.min()), float(moved.max())) >= (0.0, 0.0)
    assert float(moved.max()) <= 1.0
    assert not moved.requires_grad


def test_attacks_are_thorough() -> None:
    network, (x, y) = trained_network(), some_images()
    assert not torch.equal(inner(Lazy(), network).craft(x, y), x)


def test_what_is_no_image_stays_unattacked_and_what_is_outside_is_moved_back() -> None:
    network, (x, y) = trained_network(), some_images()
    moved = inner(Wild(), network).craft(x, y)
    assert torch.equal(moved[0], x[0])
    assert torch.equal(moved[1:], (x[1:] + LINF.eps).clamp(max=1))


def test_images_of_another_shape_are_refused() -> None:
    with pytest.raises(RunFailed, match=r"`Cropping` returned images \(12, 1, 7, 8\) for training; expected \(12, 1"):
        inner(Cropping(), trained_network()).craft(*some_images())


def test_within_no_radius_nothing_is_asked() -> None:
    SEEN.clear()
    x, y = some_images()
    assert torch.equal(inner(Told(), trained_network(), Threat(0.0)).craft(x, y), x)
    assert not SEEN


def test_without_labels_the_networks_own_answers_are_attacked() -> None:
    SEEN.clear()
    network, (x, y) = trained_network(epochs=1), some_images()
    inner(Told(), network)(Batch(x))
    ((told, logits),) = SEEN
    assert torch.equal(told, logits.argmax(dim=1))
    assert not torch.equal(told, y), "the network is right, so its answers show nothing"


def test_a_batch_keeps_its_labels_and_its_share() -> None:
    x, y = some_images()
    batch = inner(Ascent(), trained_network())(Batch(x, y, share=0.25))
    assert batch.y is y
    assert batch.share == 0.25
    assert not torch.equal(batch.images, x)


def test_a_batch_without_images_is_refused() -> None:
    with pytest.raises(RequestError, match=r"nothing to attack.*leave out the option `attack`"):
        inner(Ascent(), trained_network())(Batch())


# -- the network


@pytest.mark.parametrize("attack", [Ascent(), Careless()], ids=str)
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_network_comes_back_exactly_as_it_was(mode: AttackMode, attack: Attack) -> None:
    network, (x, y) = Normed(), some_images()
    network(x).sum().backward()
    gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
    wanting = [p.requires_grad for p in network.parameters()]
    before, network.modes = fingerprint(network), set()
    inner(attack, network, mode=mode).craft(x, y)
    assert fingerprint(network) == before
    assert network.modes, "the network was not asked"
    assert [p.requires_grad for p in network.parameters()] == wanting
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert (gradient is None) == (parameter.grad is None)
        assert gradient is None or torch.equal(gradient, parameter.grad)  # type: ignore[arg-type]  # both are there


def test_a_network_comes_back_after_a_failure() -> None:
    class Failing(Ascent):
        def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
            super().craft(source, x, y, threat)
            raise ZeroDivisionError

    network = Normed()
    before = fingerprint(network)
    with pytest.raises(ZeroDivisionError):
        inner(Failing(), network, mode="train").craft(*some_images())
    assert fingerprint(network) == before
    assert network.last.weight.requires_grad


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_the_mode_decides_how_every_part_runs_meanwhile(mode: AttackMode) -> None:
    network = Normed()
    own = tuple(part.training for part in network.modules())
    inner(Ascent(), network, mode=mode).craft(*some_images())
    assert network.modes == ({own} if mode == "train" else {(False,) * len(own)})


def test_in_training_mode_batch_norm_uses_the_attacked_batch() -> None:
    SEEN.clear()
    network, (x, y) = Normed(), some_images()
    network.drop.p = 0.0
    for mode in ("eval", "train"):
        inner(Told(), network, mode=mode).craft(x, y)
    with torch.no_grad():
        by_running_mean = network.eval()(x)
        normed = F.batch_norm(x, None, None, training=True)
        by_batch = network.last(network.frozen(normed).flatten(1))
    assert torch.allclose(SEEN[0][1], by_running_mean, atol=1e-5)
    assert torch.allclose(SEEN[1][1], by_batch, atol=1e-5)


# -- in a stage


@component
class Attacked(Optimization):
    """Options whose stages are attacked."""

    mode: AttackMode = option(default="eval", help="Mode.")

    def preparation(self, run: object, target: nn.Module) -> Preparation:
        return inner(Ascent(), target, mode=self.mode)


def stage_of(step: Callable[[Stage, Batch], None] = supervised, network: nn.Module | None = None) -> Stage:
    run = toy_run("teacher")
    options = Attacked(epochs=2, batch_size=16, lr=5e-3)
    return options.stage(run, network or run.network("net"), step)


def test_every_step_sees_images_attacked_with_the_weights_of_that_moment() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    def step(stage: Stage, batch: Batch) -> None:
        seen.append((batch.images, stage.target.state_dict()["net.fc2.weight"].clone()))
        supervised(stage, batch)

    execute(iter([stage_of(step)]), Monitor())
    again = stage_of()
    again.begin()
    for epoch in range(2):
        again.target.train()
        for clean in again.batches.epoch(epoch):
            expected, weights = seen.pop(0)
            assert torch.equal(again.target.state_dict()["net.fc2.weight"], weights)
            batch = inner(Ascent(), again.target)(clean)
            assert torch.equal(batch.images, expected)
            assert not torch.equal(batch.images, clean.images)
            supervised(again, batch)
        again.epoch += 1
    assert not seen


def parts_of(stage: Stage) -> Iterator[tuple[int, Batch]]:
    """The batches from a stage's position on; the stage must take each."""
    while stage.epoch < stage.epochs:
        stage.target.train()
        for batch in stage.batches.epoch(stage.epoch, stage.batch):
            yield stage.epoch, batch
        stage.end_epoch({})


def test_a_stage_that_is_stopped_goes_on_with_the_same_images() -> None:
    whole = stage_of()
    whole.begin()
    for _, batch in parts_of(whole):
        whole.take(batch)
    stopped, resumed = stage_of(), stage_of()
    stopped.begin()
    for epoch, batch in parts_of(stopped):
        stopped.take(batch)
        if (epoch, stopped.batch) == (1, 2):
            break
    state = stopped.state_dict()
    seed_everything(99)
    resumed.begin()
    resumed.load_state_dict(state)
    for _, batch in parts_of(resumed):
        resumed.take(batch)
    assert fingerprint(resumed.target.eval()) == fingerprint(whole.target.eval())


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_running_statistics_move_by_the_steps_alone(mode: AttackMode) -> None:
    norm = nn.BatchNorm2d(1)
    network = nn.Sequential(norm, nn.Flatten(), nn.Linear(64, CLASSES))
    means: list[Tensor] = []

    def step(stage: Stage, batch: Batch) -> None:
        stage.module(batch.images)
        means.append(batch.images.mean())

    stage = Attacked(epochs=1, batch_size=16, mode=mode).stage(toy_run("teacher"), network, step)
    execute(iter([stage]), Monitor())
    expected = torch.zeros(())
    for mean in means:
        expected = 0.9 * expected + 0.1 * mean
    assert len(means) == 4
    assert torch.allclose(norm.get_buffer("running_mean"), expected, atol=1e-6)


def test_half_precision_leaves_images_and_updates_whole() -> None:
    compute = Accelerated(torch.device("cpu"), "bf16")
    types: set[torch.dtype] = set()

    def step(stage: Stage, batch: Batch) -> None:
        types.add(batch.images.dtype)
        supervised(stage, batch)

    stage = stage_of(step)
    before = [parameter.detach().clone() for parameter in stage.target.parameters()]
    try:
        execute(iter([stage]), Monitor(), compute=compute)
    finally:
        compute.close()
    assert types == {torch.float32}
    assert all(not torch.equal(a, b) for a, b in zip(before, stage.target.parameters(), strict=True))


def test_processes_attack_their_own_parts() -> None:
    class Second(Compute):
        index, count = 1, 2

        def settle(self, optimizer: torch.optim.Optimizer, modules: object) -> None: ...

    seen: list[Batch] = []
    stage = stage_of(lambda stage, batch: seen.append(batch))
    stage.compute = Second()
    stage.begin()
    x, y = some_images(8)
    stage.take(Batch(x, y, share=0.5))
    assert [(len(batch.images), batch.share) for batch in seen] == [(8, 0.5)]
    assert not torch.equal(seen[0].images, x)


# -- what determines it


def test_options_threat_mode_and_code_determine_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Ascent, Told):
        monkeypatch.setattr(cls, "__module__", "rcframe.installed")
    network = trained_network()
    kinds = [
        inner(Ascent(), network),
        inner(Ascent(steps=3), network),
        inner(Told(), network),
        inner(Ascent(), network, Threat(0.2)),
        inner(Ascent(), network, Threat(0.1, "l2")),
        inner(Ascent(), network, mode="train"),
    ]
    found = [kind.identity() for kind in kinds]
    assert all(parts is not None and any(name.startswith("code of ") for name in parts) for parts in found)
    assert len({str(parts) for parts in found}) == len(kinds)
    assert inner(Ascent(), trained_network(epochs=1)).identity() == found[0]


def test_a_stage_is_told_apart_by_its_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ascent, "__module__", "rcframe.installed")
    stage = stage_of()
    stage.begin()
    found = [stage.identity()]
    for attack in (Ascent(), Ascent(steps=3)):
        stage.prepare = inner(attack, stage.target)
        found.append(stage.identity())
    stage.prepare = None
    found.append(stage.identity())
    assert found[0] == found[1]
    assert all(parts is not None for parts in found)
    assert len({str(parts) for parts in found}) == 3
    assert {*found[0]} - {*found[-1]} == {"attacked by"}  # type: ignore[misc]  # all are there


def test_a_stage_whose_attack_has_no_source_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = stage_of()
    stage.begin()
    monkeypatch.setattr(Ascent, "__module__", "typed_at_a_prompt")
    assert stage.identity() is None


def test_what_else_a_stage_depends_on_is_in_its_identity() -> None:
    run = toy_run("teacher")
    stage = Optimization().stage(run, run.network("net"), supervised, determined_by={"radius": "0.1"})
    stage.begin()
    assert (stage.identity() or {})["radius"] == "0.1"

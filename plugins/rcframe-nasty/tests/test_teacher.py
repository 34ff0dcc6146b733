from __future__ import annotations

import math
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_nasty.teacher import Nasty, undermining_loss, warmed_up
from safetensors.torch import load_file
from torch import Tensor, nn

import rcframe as rc
from rcframe import (
    Access,
    Batch,
    ModelOracle,
    Oracle,
    RequestError,
    Run,
    Stage,
    StudentStrategy,
    Training,
    component,
    kl_divergence,
)
from rcframe.choice import parse_choice
from rcframe.data.digits import Digits
from rcframe.data.prepare import prepare
from rcframe.registry import registry
from rcframe.testing.subject import Subject
from rcframe.testing.toys import CLASSES, fingerprint, toy_dataset, toy_run
from rcframe.testing.training_promises import check_teacher_repeats, check_teacher_resumes, check_teacher_trains
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

#: The example of the method's notes.
Z_T, Z_A, Y, TAU, OMEGA = (2.0, 0.0, -1.0), (1.0, 0.5, 0.0), 0, 4.0, 0.04


def row(values: tuple[float, ...]) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def loss_of(teacher: Tensor, adversary: Tensor, y: Tensor, omega: float, tau: float) -> Tensor:
    return undermining_loss(teacher, kl_divergence(teacher, adversary, tau), y, omega, tau)


def softmax(z: tuple[float, ...], tau: float = 1.0) -> list[float]:
    powers = [math.exp(value / tau) for value in z]
    return [power / sum(powers) for power in powers]


# --- the loss --------------------------------------------------------------------------------------------------------


def test_the_loss_has_the_published_value() -> None:
    loss = loss_of(row(Z_T), row(Z_A), torch.tensor([Y]), OMEGA, TAU)
    assert TAU**2 * float(kl_divergence(row(Z_T), row(Z_A), TAU)) == pytest.approx(0.383327, abs=5e-7)
    assert float(F.cross_entropy(row(Z_T), torch.tensor([Y]))) == pytest.approx(0.169846, abs=5e-7)
    assert float(loss) == pytest.approx(0.154513, abs=5e-7)


def test_the_loss_is_the_one_computed_by_hand() -> None:
    p, q = softmax(Z_T, TAU), softmax(Z_A, TAU)
    divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = -math.log(softmax(Z_T)[Y]) - OMEGA * TAU**2 * divergence
    assert float(loss_of(row(Z_T), row(Z_A), torch.tensor([Y]), OMEGA, TAU)) == pytest.approx(expected, abs=1e-12)


def test_the_gradient_flows_through_the_teacher_as_the_target() -> None:
    p, q = softmax(Z_T, TAU), softmax(Z_A, TAU)
    r = [math.log(a / b) for a, b in zip(p, q, strict=True)]
    mean = sum(a * b for a, b in zip(p, r, strict=True))
    undermining = [-OMEGA * TAU * a * (b - mean) for a, b in zip(p, r, strict=True)]
    assert undermining == pytest.approx([-0.0172, 0.0071, 0.0101], abs=5e-5)
    hard = [a - (k == Y) for k, a in enumerate(softmax(Z_T))]
    z = row(Z_T).requires_grad_(True)
    (found,) = torch.autograd.grad(loss_of(z, row(Z_A), torch.tensor([Y]), OMEGA, TAU), z)
    assert found[0].tolist() == pytest.approx([a + b for a, b in zip(hard, undermining, strict=True)], abs=1e-12)


@given(st.integers(0, 1000), st.floats(0.001, 1), st.floats(0.5, 20))
@settings(max_examples=30, deadline=None)
def test_the_undermining_gradient_of_an_image_sums_to_zero(seed: int, omega: float, tau: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    z, a = (3 * torch.randn(4, 5, dtype=torch.float64, generator=draw) for _ in range(2))
    z.requires_grad_(True)
    y = torch.arange(4)
    (found,) = torch.autograd.grad(loss_of(z, a, y, omega, tau) - F.cross_entropy(z, y), z)
    assert torch.allclose(found.sum(1), torch.zeros(4, dtype=torch.float64), atol=1e-12)
    assert found.abs().max() > 1e-6


def test_without_weight_the_loss_is_cross_entropy_whatever_the_divergence() -> None:
    y = torch.tensor([Y])
    assert torch.equal(undermining_loss(row(Z_T), torch.tensor(math.inf), y, 0, TAU), F.cross_entropy(row(Z_T), y))


# --- the training ----------------------------------------------------------------------------------------------------


@component
class Imitation(Training, StudentStrategy):
    """Learns from the teacher's softened outputs, a tenth from labels, so that this plugin needs no other one."""

    access = Access.LOGITS

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        def step(stage: Stage, batch: Batch) -> None:
            logits = stage.module(batch.images)
            soft = kl_divergence(teacher.logits(batch.images), logits, 4.0)
            stage.update(0.1 * F.cross_entropy(logits, batch.labels) + 0.9 * 16 * soft)

        yield self.stage(run, student, step)


class Recorder(Monitor):
    """Keeps the stages, the state of each when it ended, and the divergence after each epoch."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.finished: list[str] = []
        self.divergences: list[float] = []

    def stage_started(self, stage: Stage) -> None:
        self.stages.append(stage)

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        if "divergence" in metrics:
            self.divergences.append(metrics["divergence"])

    def stage_done(self, stage: Stage) -> None:
        self.finished.append(fingerprint(stage.target))


def train(teacher: Nasty, run: Run) -> tuple[nn.Module, Recorder]:
    recorder = Recorder()
    network = execute(teacher.plan(teacher.network(run), run), recorder)
    assert network is not None
    return network, recorder


def run_with(model: str) -> Run:
    return attrs.evolve(toy_run("teacher"), model=parse_choice(model, "model"))


def linear_step(omega: float, tau: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Take one full-batch step of a linear teacher; return what it moved its weights by, inputs, logits and labels."""
    run = run_with("mlp:hidden=")
    strategy = Nasty(
        omega=omega, temperature=tau, epochs=1, adversary_epochs=0, optimizer="sgd", lr=1.0, momentum=0.0, batch_size=64
    )
    # Equal names start from equal weights; more weight makes the two differ more.
    before, adversary = run.network("teacher").double(), run.network("adversary").double()
    after, _ = train(strategy, run)
    everything = run.data.train.first(64)
    x = everything.images.double()
    inputs = ((x - 0.3) / 0.3).flatten(1)
    with torch.no_grad():
        z_t, z_a = before(x), adversary(x)
    moved = after.get_parameter("net.fc1.weight").detach().double() - before.get_parameter("net.fc1.weight").detach()
    return moved, inputs, z_t, z_a, everything.labels


@pytest.mark.parametrize(("omega", "tau"), [(0.5, 4.0), (2.0, 1.5)])
def test_one_step_moves_the_weights_away_from_the_adversary(omega: float, tau: float) -> None:
    moved, inputs, z_t, z_a, y = linear_step(omega, tau)
    p, log_ratio = (z_t / tau).softmax(1), (z_t / tau).log_softmax(1) - (z_a / tau).log_softmax(1)
    hard = z_t.softmax(1) - F.one_hot(y, CLASSES)
    soft = omega * tau * p * (log_ratio - (p * log_ratio).sum(1, keepdim=True))
    assert torch.allclose(moved, -((hard - soft) / 64).T @ inputs, atol=1e-6)
    swapped = omega * tau * (p - (z_a / tau).softmax(1))
    for wrong in (hard + soft, hard, hard - swapped, hard - soft / tau):
        assert not torch.allclose(moved, -(wrong / 64).T @ inputs, atol=1e-4), "the test could not tell"


def weights_of_run(teacher: str, out: Path) -> dict[str, Tensor]:
    """Run on a network that would show a drawn random number or a moved batch average; return the teacher."""
    rc.run(
        data="glyphs:classes=3,size=8,train=96,test=12,extra=0",
        model="vgg5:width=0.05,batch_norm=true,hidden=8",
        student="plain:epochs=0",
        teacher=teacher,
        seed=5,
        eps=0.1,
        out=out,
    )
    return load_file(out / "teacher.safetensors")


def test_without_weight_this_is_ordinary_training_bit_for_bit(tmp_path: Path) -> None:
    plain = weights_of_run("plain:epochs=2", tmp_path / "plain")
    nasty = weights_of_run("nasty:omega=0,epochs=2,adversary_epochs=1", tmp_path / "nasty")
    other = weights_of_run("nasty:omega=0.04,epochs=2,adversary_epochs=1", tmp_path / "other")
    assert plain.keys() == nasty.keys()
    assert all(torch.equal(plain[name], nasty[name]) for name in plain)
    assert any(not torch.equal(plain[name], other[name]) for name in plain)


def test_the_adversary_is_an_ordinary_network_that_the_teacher_leaves_alone() -> None:
    run = run_with("digitnet:channels=4,hidden=8")
    _, recorder = train(Nasty(epochs=3, adversary_epochs=2, batch_size=16), run)
    adversary = recorder.stages[0].target
    assert [stage.name for stage in recorder.stages] == ["teacher/adversary", "teacher/train"]
    assert fingerprint(adversary) == recorder.finished[0], "weights, batch averages or modes changed"
    assert not any(parameter.requires_grad for parameter in adversary.parameters())
    assert all(parameter.grad is None for parameter in adversary.parameters() if parameter.requires_grad)


def test_the_teacher_starts_from_scratch_and_not_from_the_adversary() -> None:
    run = toy_run("teacher")
    nasty = Nasty(epochs=0, adversary_epochs=2)
    network, recorder = train(nasty, run)
    assert fingerprint(network) == fingerprint(run.network("teacher").eval())
    assert fingerprint(network) != recorder.finished[0]


@pytest.mark.parametrize(("given", "expected"), [(None, 3), (0, 0), (1, 1)])
def test_the_adversary_trains_as_long_as_the_teacher_unless_told(given: int | None, expected: int) -> None:
    _, recorder = train(Nasty(epochs=3, adversary_epochs=given, batch_size=64), toy_run("teacher"))
    assert [stage.epochs for stage in recorder.stages] == [expected, 3]


def test_the_adversary_may_be_another_network() -> None:
    network, recorder = train(Nasty(adversary="mlp:hidden=7", epochs=1), toy_run("teacher"))
    assert recorder.stages[0].target.get_parameter("net.fc1.weight").shape == (7, 64)
    assert "net.conv1.weight" in network.state_dict()


def test_the_teacher_stays_right_and_ends_far_from_the_adversary() -> None:
    nasty, ordinary = (
        train(Nasty(omega=omega, epochs=20, batch_size=16, lr=5e-3), toy_run("teacher")) for omega in (0.004, 0)
    )
    test = toy_dataset().test.first(24)
    with torch.no_grad():
        adversary = nasty[1].stages[0].target(test.images)
        apart = [float(kl_divergence(network(test.images), adversary, 4.0)) for network, _ in (nasty, ordinary)]
        assert (nasty[0](test.images).argmax(1) == test.labels).float().mean() >= 0.9
    assert apart[0] > 5 * apart[1]
    assert nasty[1].divergences[-1] > 5 * ordinary[1].divergences[-1], "the logged divergence"


def test_what_a_student_starts_from_does_not_depend_on_the_teacher() -> None:
    reports = [
        rc.run(
            data="glyphs:classes=3,size=8,train=96,test=12,extra=0",
            teacher=teacher,
            student="plain:epochs=1",
            seed=2,
            eps=0.1,
        )
        for teacher in ("plain:epochs=0", "nasty:epochs=1")
    ]
    assert reports[0].student.clean == reports[1].student.clean


# --- the adversary and the start -------------------------------------------------------------------------------------


def own_model(classes: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, classes))


def three_classes() -> nn.Module:
    return own_model(3)


def five_classes() -> nn.Module:
    return own_model(5)


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a spec string name the functions of this module."""
    module = types.ModuleType("nasty_adversaries")
    vars(module).update(three=three_classes, five=five_classes)
    monkeypatch.setitem(sys.modules, "nasty_adversaries", module)


@pytest.mark.usefixtures("importable")
def test_the_adversary_may_be_a_network_of_your_own() -> None:
    network, recorder = train(Nasty(adversary="nasty_adversaries:three", epochs=2, batch_size=16), toy_run("teacher"))
    assert [type(part) for part in recorder.stages[0].target.modules()].count(nn.Linear) == 1
    assert "net.conv1.weight" in network.state_dict()
    assert recorder.divergences[-1] > 0


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize(
    ("adversary", "message"),
    [
        ("nasty_adversaries:five", r"turns one image|5 outputs but data set `toy` has 3 classes"),
        ("mlq", r"No model named `mlq`"),
    ],
)
def test_an_adversary_that_does_not_fit_is_refused_before_anything_is_trained(adversary: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Nasty(adversary=adversary).network(toy_run("teacher"))


def test_the_teacher_may_start_from_its_adversary() -> None:
    network, recorder = train(Nasty(init_from="adversary", epochs=0, adversary_epochs=2), toy_run("teacher"))
    adversary = recorder.stages[0].target
    assert all(torch.equal(network.state_dict()[name], value) for name, value in adversary.state_dict().items())
    assert fingerprint(adversary.eval()) == recorder.finished[0]
    further, _ = train(Nasty(init_from="adversary", epochs=1, adversary_epochs=2), toy_run("teacher"))
    assert fingerprint(further.eval()) != fingerprint(network.eval())


def test_from_where_the_adversary_is_the_divergence_rises() -> None:
    _, recorder = train(Nasty(init_from="adversary", omega=0.01, epochs=10, batch_size=16, lr=5e-3), toy_run("teacher"))
    assert recorder.divergences[-1] > 5 * recorder.divergences[0]


def test_the_teacher_may_start_from_a_file(tmp_path: Path) -> None:
    weights = weights_of_run("plain:epochs=1", tmp_path / "plain")
    nasty = f"nasty:epochs=0,adversary_epochs=0,init_from={tmp_path / 'plain' / 'teacher.safetensors'}"
    started = weights_of_run(nasty, tmp_path / "nasty")
    assert all(torch.equal(weights[name], started[name]) for name in weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init_from": "adversary", "adversary": "mlp"}, r"init_from=adversary.*adversary=mlp"),
        ({"trainable": "last"}, r"layers that nobody has trained: add init_from=adversary"),
    ],
)
def test_what_makes_no_sense_together_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        Nasty(**options)


def test_a_file_that_is_not_there_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="There is no weights file"):
        Nasty(init_from=str(tmp_path / "gone.safetensors")).network(toy_run("teacher"))


# --- the cheaper variants --------------------------------------------------------------------------------------------

FULL_BATCH: dict[str, Any] = {
    "epochs": 1,
    "adversary_epochs": 0,
    "optimizer": "sgd",
    "lr": 0.5,
    "momentum": 0.0,
    "batch_size": 64,
}


def test_the_divergence_may_pull_on_the_last_layer_alone() -> None:
    """One step: all other layers move as in ordinary training, the last one as in nasty training."""
    ordinary, nasty, half = (
        train(Nasty(**FULL_BATCH, omega=omega, kl_grad_scope=scope), toy_run("teacher"))[0].state_dict()  # type: ignore[arg-type]
        for omega, scope in ((0.0, "all"), (50.0, "all"), (50.0, "last"))
    )
    last = ("net.fc2.weight", "net.fc2.bias")
    assert set(last) < set(ordinary), list(ordinary)
    for name, value in half.items():
        as_nasty, as_ordinary = (torch.allclose(value, one[name], atol=1e-6) for one in (nasty, ordinary))
        assert (as_nasty, as_ordinary) == ((name in last), (name not in last)) or torch.equal(
            nasty[name], ordinary[name]
        )


@pytest.mark.parametrize("scope", ["all", "last"])
def test_the_last_layer_may_train_alone(scope: Literal["all", "last"]) -> None:
    """What is before it stays as it was in the adversary, statistics of batch norm included."""
    strategy = Nasty(
        omega=0.01,
        epochs=3,
        adversary_epochs=2,
        batch_size=16,
        init_from="adversary",
        trainable="last",
        kl_grad_scope=scope,
    )
    network, recorder = train(strategy, run_with("digitnet:channels=4,hidden=8"))
    before, after = recorder.stages[0].target.state_dict(), network.state_dict()
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert any("running_mean" in name for name in after)
    assert len(moved) == 2
    assert recorder.divergences[-1] > recorder.divergences[0]


def test_light_training_repeats_and_can_be_stopped() -> None:
    spec = next(spec for spec in registry().announced("teacher") if spec.spec.name == "nasty").spec

    class Light(Subject):
        def make(self) -> Nasty:
            return Nasty(
                epochs=2,
                batch_size=16,
                init_from="adversary",
                trainable="last",
                kl_grad_scope="last",
                omega_warmup=1,
            )

    for promise in (check_teacher_trains, check_teacher_repeats, check_teacher_resumes):
        promise(Light("rcframe-nasty", "rcframe_nasty", spec))


def test_omega_rises_evenly_to_its_full_weight() -> None:
    assert [warmed_up(0.04, epoch, 3) for epoch in range(6)] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.04, 0.04])
    assert [warmed_up(0.04, epoch, 0) for epoch in range(3)] == [0.04] * 3
    assert warmed_up(0.0, 0, 5) == 0


def test_the_teacher_warms_omega_up() -> None:
    """With a warm-up of one epoch, the first epoch is one with half the weight."""
    warm, half, full = (
        train(Nasty(**{**FULL_BATCH, "batch_size": 16}, omega=omega, omega_warmup=epochs), toy_run("teacher"))[0]
        for omega, epochs in ((2.0, 1), (1.0, 0), (2.0, 0))
    )
    assert fingerprint(warm) == fingerprint(half)
    assert fingerprint(warm) != fingerprint(full)


# --- published settings ----------------------------------------------------------------------------------------------

_SGD = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "batch_size": 128, "schedule": "steps"}
_LONG = {**_SGD, "epochs": 200, "milestones": (60, 120, 160), "decay": 0.2, "temperature": 20.0}
_SHORT = {**_SGD, "epochs": 160, "milestones": (80, 120), "decay": 0.1, "temperature": 4.0}


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("cifar10", {**_SHORT, "omega": 0.004}),
        ("cifar10-code", {**_SHORT, "omega": 0.04}),
        ("cifar100", {**_LONG, "omega": 0.005}),
        ("tiny-imagenet", {**_LONG, "omega": 0.01}),
    ],
)
def test_presets_are_the_published_settings(preset: str, expected: dict[str, object]) -> None:
    assert rc.teacher(f"nasty:preset={preset}") == Nasty(**expected)  # type: ignore[arg-type]
    assert rc.teacher(f"nasty:preset={preset},epochs=1") == Nasty(**{**expected, "epochs": 1})  # type: ignore[arg-type]
    assert set(Nasty.presets) == {"cifar10", "cifar10-code", "cifar100", "tiny-imagenet"}


def test_a_preset_trains(tmp_path: Path) -> None:
    weights = weights_of_run("nasty:preset=cifar10-code,epochs=1", tmp_path / "run")
    assert all(bool(value.isfinite().all()) for value in weights.values())


@pytest.mark.slow
def test_on_digits_the_teacher_misleads_and_shows_false_peaks(tmp_path: Path) -> None:
    digits = prepare(Digits(), tmp_path, seed=0)
    train_set, test_set = digits.train.first(2000), digits.test.first(450)
    run = attrs.evolve(run_with("digitnet"), dataset=digits)
    nasty, recorder = train(Nasty(omega=0.01, epochs=40, adversary_epochs=20), run)
    ordinary = recorder.stages[0].target

    def accuracy_of(network: nn.Module) -> float:
        with torch.no_grad():
            return float((network(test_set.images).argmax(1) == test_set.labels).float().mean())

    def peaks_of(network: nn.Module) -> float:
        """Count the classes an image seems to belong to at temperature 4, on average."""
        with torch.no_grad():
            return float(((network(train_set.images) / 4).softmax(1) > 0.1).sum(1).float().mean())

    def imitated(network: nn.Module) -> nn.Module:
        student_run = attrs.evolve(run_with("digitnet:channels=8,hidden="), dataset=digits, role="student")
        student = student_run.network("student")
        execute(Imitation(epochs=15).plan(student, ModelOracle(network, Access.LOGIT), student_run), Monitor())
        return student

    assert accuracy_of(nasty) >= accuracy_of(ordinary) - 0.04
    assert peaks_of(ordinary) <= 1.6
    # With the arguments of the divergence swapped: 2.3 peaks, 0.41 apart.
    assert peaks_of(nasty) >= 2.4
    with torch.no_grad():
        assert kl_divergence(nasty(train_set.images), ordinary(train_set.images), 4.0) >= 0.5
    assert accuracy_of(imitated(nasty)) <= accuracy_of(imitated(ordinary)) - 0.05

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_skeptical.headed import HeadedStudent
from rcframe_skeptical.losses import Outputs
from rcframe_skeptical.student import Skeptical
from safetensors.torch import load_file
from torch import Tensor, nn

import rcframe as rc
from rcframe import Access, ModelOracle, RequestError, Run, Stage
from rcframe.choice import parse_choice
from rcframe.testing.toys import CLASSES, some_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

TAU = 4.0
Y = torch.arange(6) % CLASSES


def draw(seed: int) -> Tensor:
    return 3 * torch.randn(6, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def outputs(deeper: int = 2) -> Outputs:
    return Outputs(draw(1), draw(2), tuple(draw(3 + j) for j in range(deeper)))


def ce(z: Tensor) -> Tensor:
    return -z.log_softmax(1)[torch.arange(6), Y].mean()


def kl(target: Tensor, student: Tensor, tau: float) -> Tensor:
    p = (target / tau).softmax(1)
    return (p * (p.log() - (student / tau).softmax(1).log())).sum() / 6


def same(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-10, atol=1e-10)


# --- the loss --------------------------------------------------------------------------------------------------------


GAMMAS = st.tuples(*[st.floats(0, 3)] * 3).filter(any)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1, 20), GAMMAS, st.integers(1, 2))
@settings(max_examples=40, deadline=None)
def test_the_loss_is_the_papers(
    alpha: float, beta: float, tau: float, gammas: tuple[float, float, float], deeper: int
) -> None:
    o, teacher = outputs(deeper), draw(0)
    l_t = (1 - alpha) * ce(o.shallow) + alpha * tau**2 * kl(teacher, o.shallow, tau)
    l_sd = sum(((1 - beta) * ce(z) + beta * kl(o.final, z, tau) for z in o.deeper), torch.zeros(()))
    expected = gammas[0] * l_t + gammas[1] * l_sd + gammas[2] * ce(o.final)
    strategy = Skeptical(alpha=alpha, beta=beta, temperature=tau, gammas=gammas)
    assert same(strategy.loss(o, teacher, Y), expected)


def test_a_loss_of_nothing_is_refused() -> None:
    with pytest.raises(RequestError, match="All weights of a loss are 0"):
        Skeptical(gammas=(0.0, 0.0, 0.0)).loss(outputs(), draw(0), Y)


def test_without_soft_targets_the_loss_is_the_sum_of_cross_entropies() -> None:
    o = outputs(1)
    assert same(Skeptical(alpha=0, beta=0).loss(o, draw(0), Y), ce(o.shallow) + ce(o.deeper[0]) + ce(o.final))


def test_without_teacher_and_itself_the_loss_is_cross_entropy_at_the_end() -> None:
    o, nonsense = outputs(), torch.full((6, CLASSES), float("nan"))
    strategy = Skeptical(gammas=(0.0, 0.0, 1.0))
    assert torch.equal(strategy.loss(o, nonsense, Y), F.cross_entropy(o.final, Y))


def test_with_the_teacher_at_the_end_the_loss_is_plain_distillation() -> None:
    distill = pytest.importorskip("rcframe_distill.kd")
    z, teacher = draw(1), draw(0)
    strategy = Skeptical(alpha=0.9, temperature=TAU, gammas=(1.0, 1.0, 0.0))
    expected: Tensor = distill.distillation_loss(z, teacher, Y, 0.9, TAU)
    assert torch.equal(strategy.loss(Outputs(z, z), teacher, Y), expected)


def test_self_distillation_is_scaled_only_on_request() -> None:
    o, teacher = outputs(1), draw(0)
    plain, scaled = (
        Skeptical(beta=1, gammas=(0.0, 1.0, 0.0), temperature=TAU, scale_self=on).loss(o, teacher, Y)
        for on in (False, True)
    )
    assert same(scaled, TAU**2 * plain)


@pytest.mark.parametrize("detach", [False, True])
def test_self_distillation_moves_the_final_classifier_unless_detached(detach: bool) -> None:
    o = Outputs(draw(1).requires_grad_(True), draw(2), (draw(3).requires_grad_(True),))
    Skeptical(gammas=(0.0, 1.0, 0.0), detach=detach).loss(o, draw(0), Y).backward()  # type: ignore[no-untyped-call]
    moved = o.final.grad is not None and bool(o.final.grad.any())
    assert moved is not detach
    deeper = o.deeper[0].grad
    assert deeper is not None
    assert bool(deeper.any())


# --- where the heads sit ---------------------------------------------------------------------------------------------


def run_with(model: str, seed: int = 0) -> Run:
    return attrs.evolve(toy_run("student", seed=seed), model=parse_choice(model, "model"))


def stage_of(strategy: Skeptical, run: Run | None = None, teacher: nn.Module | None = None) -> Stage:
    run = run or run_with("blocknet:width=0.5")
    oracle = ModelOracle(teacher or trained_network(epochs=1), Skeptical.access)
    return next(strategy.plan(run.network("student"), oracle, run))


def headed(stage: Stage) -> HeadedStudent:
    assert isinstance(stage.module, HeadedStudent)
    return stage.module


@pytest.mark.parametrize(
    ("model", "taps"),
    [
        ("blocknet:width=0.5", ("net.relu2", "net.pool2")),
        ("digitnet:channels=4+8", ("net.pool1",)),
        ("convnet:channels=4+4+8", ("net.relu1", "net.relu2")),
        ("vgg16:width=0.05", ("net.pool2", "net.pool3", "net.relu10")),
    ],
)
def test_the_teacher_enters_at_the_middle_tap_and_those_before_the_last_follow(
    model: str, taps: tuple[str, ...]
) -> None:
    assert headed(stage_of(Skeptical(), run_with(model))).layers == taps


@pytest.mark.parametrize(
    ("given", "taps"),
    [
        ({"tap": "net.pool1"}, ("net.pool1", "net.relu2", "net.pool2")),
        ({"tap": "net.pool2"}, ("net.pool2",)),
        ({"tap": "net.relu2", "deeper": ""}, ("net.relu2",)),
        ({"tap": "net.conv2", "deeper": "net.relu4+net.pool2"}, ("net.conv2", "net.relu4", "net.pool2")),
    ],
)
def test_heads_sit_where_they_are_asked_to(given: dict[str, object], taps: tuple[str, ...]) -> None:
    strategy = rc.student("skeptical", **given)
    assert isinstance(strategy, Skeptical)
    assert headed(stage_of(strategy)).layers == taps


class Constant(nn.Module):
    """A head that always answers with one class."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, x: Tensor) -> Tensor:
        return 10 * F.one_hot(torch.full((len(x),), self.label), CLASSES).float()


def test_outputs_are_used_where_they_belong() -> None:
    module = HeadedStudent(nn.Sequential(nn.Identity(), Constant(0)), ["0", "0"], [Constant(1), Constant(2)])
    final, heads = module(torch.zeros(2, 4))
    found = Outputs.of(final, heads, enters_at_end=False)
    assert [z.argmax(1).tolist() for z in (found.final, found.shallow, *found.deeper)] == [[0, 0], [1, 1], [2, 2]]


def gradients(stage: Stage) -> dict[str, float]:
    """Return by parameter the largest gradient after one step on toy images."""
    stage.begin()
    stage.module.train()
    stage.step(stage, next(stage.batches.epoch(0)))
    return {
        name: 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
        for name, parameter in stage.module.named_parameters()
    }


def test_the_teachers_signal_stays_shallow() -> None:
    found = gradients(stage_of(Skeptical(gammas=(1.0, 0.0, 0.0))))
    deep = (*(f"student.net.{name}" for name in ("conv3", "bn3", "conv4", "bn4", "fc1")), "heads.1")
    reached = {name for name, size in found.items() if size > 0}
    assert not {name for name in reached if name.startswith(deep)}
    # A bias in front of batch norm has no effect, so its gradient is rounding at most.
    assert {name for name in found if not name.startswith(deep) and not name.endswith("conv1.bias")} - reached <= {
        "student.net.conv2.bias"
    }


def test_every_head_is_trained_and_none_is_spare() -> None:
    stage = stage_of(Skeptical())
    found = gradients(stage)
    assert len(headed(stage).heads) == 2
    assert all(size > 0 for name, size in found.items() if name.startswith("heads"))


def test_a_resnet18_has_logits_at_every_head() -> None:
    stage = stage_of(Skeptical(), run_with("resnet18:width=0.0625"))
    assert headed(stage).layers == ("net.layer2", "net.layer3")
    final, auxiliary = stage.module.eval()(some_images()[0])
    assert [z.shape for z in (final, *auxiliary)] == [(12, CLASSES)] * 3


def test_heads_start_from_the_seed_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    first = headed(stage_of(Skeptical())).heads.state_dict()
    torch.manual_seed(2)
    again = headed(stage_of(Skeptical())).heads.state_dict()
    other = headed(stage_of(Skeptical(), run_with("blocknet:width=0.5", seed=1))).heads.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.0.attention.0.0.weight"], other["0.0.attention.0.0.weight"])


# --- the training ----------------------------------------------------------------------------------------------------


class HeadsOverTime(Monitor):
    """Keeps what was asked of the teacher so far, and the heads' weights, after every epoch."""

    def __init__(self, teacher: ModelOracle) -> None:
        self.teacher = teacher
        self.asked: list[int] = []
        self.heads: list[Tensor] = []

    def epoch_done(self, stage: Stage, metrics: object) -> None:
        self.asked.append(self.teacher.queries.images)
        self.heads.append(torch.stack([p.detach().sum() for p in headed(stage).heads.parameters()]))


def test_the_first_epochs_learn_from_labels_at_the_end_alone() -> None:
    run, oracle = run_with("blocknet:width=0.5"), ModelOracle(trained_network(epochs=1), Skeptical.access)
    plan = Skeptical(delay=2, epochs=3, batch_size=32).plan(run.network("student"), oracle, run)
    seen = HeadsOverTime(oracle)
    execute(plan, seen)
    assert seen.asked == [0, 0, 64]
    assert torch.equal(seen.heads[0], seen.heads[1])
    assert bool((seen.heads[1] != seen.heads[2]).all())


def test_labels_alone_at_the_end_is_ordinary_training() -> None:
    run = run_with("blocknet:width=0.5")
    oracle = ModelOracle(trained_network(epochs=1), Skeptical.access)
    given = {"epochs": 2, "batch_size": 32}
    trained = [
        execute(strategy.plan(run_with("blocknet:width=0.5").network("student"), oracle, run), Monitor())
        for strategy, run in (
            (rc.student("skeptical", delay=2, **given), run),
            (rc.student("plain", **given), run_with("blocknet:width=0.5")),
        )
    ]
    first, second = (network.state_dict() for network in trained if network is not None)
    assert all(torch.equal(first[name], second[name]) for name in second)


def weights(student: str, out: Path) -> dict[str, Tensor]:
    rc.run(
        data="glyphs:classes=3,size=8,train=96,test=12,extra=0",
        model="blocknet:width=0.25",
        teacher="plain:epochs=0",
        student=student,
        eps=0.1,
        out=out,
    )
    return load_file(out / "student.safetensors")


def test_what_remains_is_the_student_without_heads_and_it_can_teach(tmp_path: Path) -> None:
    found = weights("skeptical:epochs=1", tmp_path / "first")
    assert found.keys() == weights("plain:epochs=0", tmp_path / "plain").keys()
    second = rc.run(
        data="glyphs:classes=3,size=8,train=96,test=12,extra=0",
        model="blocknet:width=0.25",
        teacher=f"run:{tmp_path / 'first'}",
        student="skeptical:epochs=1",
        eps=0.1,
    )
    assert second.queries.images == 96


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (Skeptical(gammas=(1.0, 1.0)), r"`gammas` of `skeptical` has 2 values, but it needs three"),
        (Skeptical(tap="net.rely2"), r"no layer `net\.rely2`\. Did you mean `net\.relu2`\?"),
        (Skeptical(deeper=("net.pool9",)), r"no layer `net\.pool9`"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(strategy: Skeptical, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        strategy.unsupported(run_with("blocknet").network("student"))


def test_a_student_without_taps_is_refused_unless_layers_are_named() -> None:
    bare = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, CLASSES))
    assert "of the two taps that are needed it has 0" in (Skeptical().unsupported(bare) or "")
    assert Skeptical(tap="1", deeper=()).unsupported(bare) is None
    run = toy_run("student")
    oracle = ModelOracle(trained_network(epochs=1), Access.LOGIT)
    execute(Skeptical(tap="1", deeper=(), epochs=1).plan(bare, oracle, run), Monitor())
    assert bare(some_images()[0]).shape == (12, CLASSES)

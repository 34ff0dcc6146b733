from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_distill.attention import Attention, attention_loss, attention_map
from rcframe_distill.kd import KD
from torch import Tensor, nn

from rcframe import Access, ModelOracle, RequestError, Run, recording
from rcframe.models.plain import ConvNet, Mlp
from rcframe.testing.toys import CLASSES, fingerprint, toy_dataset, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

SEEDS = st.integers(0, 1000)


def features(seed: int, channels: int = 3, side: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, channels, side, side, dtype=torch.float64, generator=generator)


def test_a_map_is_the_one_computed_by_hand() -> None:
    # Two channels on 1 x 2 places: (1, 2) and (1, 0), so the squares have the means 1 and 2; the length is sqrt 5.
    x = torch.tensor([[[[1.0, 2.0]], [[1.0, 0.0]]]], dtype=torch.float64)
    assert attention_map(x, (1, 2)).flatten().tolist() == pytest.approx([1 / 5**0.5, 2 / 5**0.5], abs=1e-12)


def test_the_loss_is_the_one_computed_by_hand() -> None:
    # Maps (1, 0) and (0, 1): both places differ by 1, so the mean square is 1; a second layer is alike.
    own = torch.tensor([[[[3.0, 0.0]]]], dtype=torch.float64)
    theirs = torch.tensor([[[[0.0, 5.0]], [[0.0, 1.0]]]], dtype=torch.float64)
    assert float(attention_loss([(own, theirs)])) == pytest.approx(1, abs=1e-12)
    assert float(attention_loss([(own, theirs), (own, own), (own, theirs)])) == pytest.approx(2, abs=1e-12)


@given(SEEDS)
@settings(max_examples=20, deadline=None)
def test_it_agrees_with_an_independent_computation(seed: int) -> None:
    own, theirs = features(seed), features(seed + 1, channels=5)
    total = 0.0
    for a, b in zip(own, theirs, strict=True):
        mine, other = (each.pow(2).mean(0).flatten() for each in (a, b))
        total += float(((mine / mine.norm() - other / other.norm()) ** 2).sum())
    assert float(attention_loss([(own, theirs)])) == pytest.approx(total / (2 * 16), rel=1e-10)


@given(SEEDS, st.floats(0.01, 100))
@settings(max_examples=20, deadline=None)
def test_only_where_a_layer_responds_counts_and_not_how_strongly(seed: int, scale: float) -> None:
    own, theirs = features(seed), features(seed + 1)
    before = attention_loss([(own, theirs)])
    assert torch.allclose(attention_loss([(own, scale * theirs)]), before, rtol=1e-10)
    assert float(attention_loss([(own, -scale * own)])) == pytest.approx(0, abs=1e-12)


def test_no_gradient_goes_to_the_teacher() -> None:
    own, theirs = features(0).requires_grad_(True), features(1).requires_grad_(True)
    attention_loss([(own, theirs)]).backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None
    assert own.grad.any()
    assert theirs.grad is None


def test_a_map_of_another_size_is_resized() -> None:
    constant = torch.ones(2, 3, 8, 8, dtype=torch.float64)
    assert torch.allclose(attention_map(constant, (4, 4)), torch.full((2, 16), 0.25).double())
    # Halved bilinearly, every place is the mean of the four that it covers.
    x = features(0, side=8)
    energy = F.avg_pool2d(x.square().mean(1, keepdim=True), 2).flatten(1)
    assert torch.allclose(attention_map(x, (4, 4)), energy / energy.norm(dim=1, keepdim=True), rtol=1e-10)


# --- the training ----------------------------------------------------------------------------------------------------


def network(channels: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return ConvNet(channels=tuple(map(int, channels.split("+"))), hidden=16).build(toy_dataset().info)


class Listener(Monitor):
    """Keeps what a training tells its user."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def said(self, text: str) -> None:
        self.told.append(text)


def train(strategy: Attention | KD, student: nn.Module, teacher: nn.Module, run: Run | None = None) -> list[str]:
    listener = Listener()
    execute(strategy.plan(student, ModelOracle(teacher, Access.GREY), run or toy_run("student")), listener)
    return listener.told


def apart(student: nn.Module, teacher: nn.Module) -> float:
    x = toy_dataset().test.first(24).images
    with torch.no_grad(), recording(student.eval(), ["net.relu1"]) as own, recording(teacher, ["net.relu1"]) as theirs:
        student(x), teacher(x)
    return float(attention_loss([(own["net.relu1"], theirs["net.relu1"])]))


def test_the_student_comes_to_look_where_the_teacher_looks(teacher: nn.Module) -> None:
    start = network("6+4")
    found = {}
    for beta in (0.0, 1000.0):
        student = copy.deepcopy(start)
        train(
            Attention(epochs=20, batch_size=16, lr=5e-3, taps=("net.relu1",), teacher_taps=("net.relu1",), beta=beta),
            student,
            teacher,
        )
        found[beta] = apart(student, teacher)
    assert found[1000.0] < 0.5 * found[0.0]


def test_without_weight_on_the_maps_this_is_distillation(teacher: nn.Module) -> None:
    one, other = network("4+4"), network("4+4")
    train(Attention(epochs=2, beta=0.0), one, teacher)
    train(KD(epochs=2), other, teacher)
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_the_teacher_stays_as_it_is(teacher: nn.Module) -> None:
    before = fingerprint(teacher)
    train(Attention(epochs=1), network("4+4"), teacher)
    assert fingerprint(teacher) == before


def test_taps_are_matched_by_depth(teacher: nn.Module) -> None:
    oracle, run = ModelOracle(teacher, Access.GREY), toy_run("student")
    pairs = Attention().pairs(network("4+4"), oracle, run)
    assert [(pair.student.name, pair.teacher.name) for pair in pairs] == [
        ("net.relu1", "net.relu1"),
        ("net.relu2", "net.relu3"),
    ]
    named = Attention(taps=("net.conv2",)).pairs(network("4+4"), oracle, run)
    assert [(pair.student.name, pair.teacher.name) for pair in named] == [("net.conv2", "net.relu3")]
    both = Attention(taps=("net.relu2", "net.conv1"), teacher_taps=("net.relu1", "net.conv3")).pairs(
        network("4+4"), oracle, run
    )
    assert [(pair.student.name, pair.teacher.name) for pair in both] == [
        ("net.relu2", "net.relu1"),
        ("net.conv1", "net.conv3"),
    ]


def test_maps_of_different_sizes_are_told_of_once(teacher: nn.Module) -> None:
    (told,) = train(Attention(epochs=2, batch_size=16, taps=("net.relu1",)), network("4+4"), teacher)
    assert "`net.relu3` (8x2x2) for `net.relu1` (4x4x4)" in told
    assert train(Attention(epochs=1), network("4+4"), teacher) == []


def test_layers_that_do_not_exist_are_refused_on_both_sides(teacher: nn.Module) -> None:
    student = network("4+4")
    assert Attention().mismatch(student, teacher) is None
    for strategy, role, option in (
        (Attention(taps=("net.relu1", "net.relu7")), "student", "taps"),
        (Attention(teacher_taps=("net.relu7",)), "teacher", "teacher_taps"),
    ):
        words = (
            rf"^In the option `{option}`: the {role} has no layer `net\.relu7`\. Did you .* Its taps: net\.relu1, net"
        )
        with pytest.raises(RequestError, match=words):
            strategy.mismatch(student, teacher)


def test_networks_without_maps_or_with_too_few_taps_are_refused(teacher: nn.Module) -> None:
    flat = Mlp(hidden=(8,)).build(toy_dataset().info)
    assert "the student has no convolution" in str(Attention().mismatch(flat, teacher))
    assert "the teacher has no convolution" in str(Attention().mismatch(teacher, flat))
    bare = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, CLASSES))
    assert "the student names no taps: choose with the option `taps`" in str(Attention().mismatch(bare, teacher))
    many = Attention(teacher_taps=("net.relu1", "net.relu2", "net.relu3"))
    assert "the student names 2 taps, and 3 are needed" in str(many.mismatch(network("4+4"), teacher))
    assert Attention(taps=("0",)).mismatch(bare, teacher) is None


def test_a_layer_without_maps_is_refused(teacher: nn.Module) -> None:
    with pytest.raises(RequestError, match=r"`net\.fc1` of the student puts out"):
        train(Attention(epochs=1, taps=("net.fc1",)), network("4+4"), teacher)
    with pytest.raises(RequestError, match=r"`net\.fc1` of the teacher puts out"):
        train(Attention(epochs=1, teacher_taps=("net.fc1",)), network("4+4"), teacher)


def test_numbers_of_layers_that_differ_are_refused() -> None:
    with pytest.raises(RequestError, match="2 taps of the student and 1 of the teacher"):
        Attention(taps=("a", "b"), teacher_taps=("c",))


@pytest.mark.parametrize(("option", "value"), [("beta", -1.0), ("alpha", 1.1), ("temperature", 0.0)])
def test_options_out_of_range_are_refused(option: str, value: float) -> None:
    with pytest.raises(RequestError, match=option):
        Attention(**{option: value})  # type: ignore[arg-type]

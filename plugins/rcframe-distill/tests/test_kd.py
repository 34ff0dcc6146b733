from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import attrs
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_distill.kd import KD, distillation_loss
from torch import Tensor, nn

from rcframe import Access, Answer, ModelOracle, Oracle, Run
from rcframe.builtins.plain import PlainStudent
from rcframe.evaluation.oracle import Queries
from rcframe.testing.toys import CLASSES, fingerprint, some_images, toy_dataset, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

ALPHAS = st.floats(0, 1)
TEMPERATURES = st.floats(0.5, 20)


def logits(seed: int, batch: int = 4, classes: int = 5) -> Tensor:
    return 3 * torch.randn(batch, classes, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def labels(batch: int = 4, classes: int = 5) -> Tensor:
    return torch.arange(batch) % classes


def of_probabilities(*rows: Sequence[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_(True)
    (found,) = torch.autograd.grad(loss(at), at)
    return found


def close(a: Tensor | float, b: Tensor | float, tolerance: float = 1e-10) -> bool:
    return torch.allclose(torch.as_tensor(a), torch.as_tensor(b).to(torch.as_tensor(a)), rtol=tolerance, atol=tolerance)


# --- the loss --------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_one_computed_by_hand() -> None:
    # Softmax of (2 ln 3, 0) / 2 is (3/4, 1/4), that of (0, 0) is (1/2, 1/2); the student's cross-entropy is ln 2.
    student, teacher = torch.zeros(1, 2, dtype=torch.float64), 2 * of_probabilities([3, 1])
    soft = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    loss = distillation_loss(student, teacher, torch.tensor([0]), 0.9, 2.0)
    assert float(loss) == pytest.approx(0.1 * math.log(2) + 0.9 * 4 * soft, abs=1e-12)


@pytest.mark.parametrize(("teacher", "student", "expected"), [((9, 1), (1, 1), 0.3681), ((1, 1), (9, 1), 0.5108)])
def test_the_teacher_is_the_first_argument_of_the_divergence(
    teacher: tuple[int, int], student: tuple[int, int], expected: float
) -> None:
    loss = distillation_loss(of_probabilities(student), of_probabilities(teacher), torch.tensor([0]), 1.0, 1.0)
    assert float(loss) == pytest.approx(expected, abs=5e-5)


@given(TEMPERATURES, st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_imitating_perfectly_costs_nothing_and_pulls_nowhere(temperature: float, seed: int) -> None:
    teacher = logits(seed)
    assert close(distillation_loss(teacher, teacher, labels(), 1.0, temperature), 0.0)
    assert close(gradient(lambda z: distillation_loss(z, teacher, labels(), 1.0, temperature), teacher), 0 * teacher)


@given(TEMPERATURES, st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_soft_term_is_soft_cross_entropy_minus_the_teachers_entropy(temperature: float, seed: int) -> None:
    student, teacher = logits(seed), logits(seed + 1)
    p = (teacher / temperature).softmax(1)
    cross_entropy = -(p * (student / temperature).log_softmax(1)).sum(1).mean()
    entropy = -(p * p.log()).sum(1).mean()
    loss = distillation_loss(student, teacher, labels(), 1.0, temperature)
    assert close(loss, temperature**2 * (cross_entropy - entropy), 1e-9)
    assert float(loss) >= 0


@given(ALPHAS, TEMPERATURES, st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_the_gradient_is_the_analytic_one(alpha: float, temperature: float, seed: int) -> None:
    student, teacher, y = logits(seed), logits(seed + 1), labels()
    hard = student.softmax(1) - F.one_hot(y, 5)
    soft = temperature * ((student / temperature).softmax(1) - (teacher / temperature).softmax(1))
    expected = ((1 - alpha) * hard + alpha * soft) / len(y)
    assert close(gradient(lambda z: distillation_loss(z, teacher, y, alpha, temperature), student), expected)


def test_at_a_high_temperature_the_soft_term_matches_centred_logits() -> None:
    student, teacher = logits(0), logits(1)
    gap = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    loss = distillation_loss(student, teacher, labels(), 1.0, 1000.0)
    assert float(loss / (gap.square().mean(1) / 2).mean()) == pytest.approx(1, rel=1e-3)
    pull = gradient(lambda z: distillation_loss(z, teacher, labels(), 1.0, 1e5), student)
    assert torch.allclose(pull, gap / (5 * len(gap)), rtol=1e-3, atol=1e-4)


def test_without_weight_on_the_teacher_this_is_cross_entropy() -> None:
    student, nonsense = logits(0), torch.full((4, 5), float("nan"), dtype=torch.float64)
    assert torch.equal(distillation_loss(student, nonsense, labels(), 0.0, 4.0), F.cross_entropy(student, labels()))


def test_with_all_weight_on_the_teacher_labels_are_not_read() -> None:
    student, teacher, no_class = logits(0), logits(1), torch.full((4,), 99)
    one = distillation_loss(student, teacher, labels(), 1.0, 4.0)
    assert torch.equal(one, distillation_loss(student, teacher, no_class, 1.0, 4.0))


@given(ALPHAS, TEMPERATURES)
@settings(max_examples=20, deadline=None)
def test_the_loss_is_a_mean_over_the_batch(alpha: float, temperature: float) -> None:
    student, teacher, y = logits(0), logits(1), labels()
    once = distillation_loss(student, teacher, y, alpha, temperature)
    twice = distillation_loss(student.repeat(2, 1), teacher.repeat(2, 1), y.repeat(2), alpha, temperature)
    rows = [distillation_loss(student[i : i + 1], teacher[i : i + 1], y[i : i + 1], alpha, temperature) for i in y[:4]]
    assert close(once, twice)
    assert close(once, torch.stack(rows).mean())


def test_the_loss_is_a_sum_over_classes() -> None:
    # Classes that neither believes in change a mean over classes, but not a sum.
    student, teacher = F.pad(logits(0), (0, 5), value=-1e5), F.pad(logits(1), (0, 5), value=-1e5)
    before = distillation_loss(logits(0), logits(1), labels(), 1.0, 4.0)
    assert close(distillation_loss(student, teacher, labels(), 1.0, 4.0), before)


def test_shifting_all_logits_of_an_image_changes_nothing() -> None:
    shift = torch.tensor([[5.0], [-3.0], [0.0], [100.0]], dtype=torch.float64)
    before = distillation_loss(logits(0), logits(1), labels(), 0.5, 4.0)
    assert close(distillation_loss(logits(0) - shift, logits(1) + shift, labels(), 0.5, 4.0), before)


# --- the training ----------------------------------------------------------------------------------------------------


def teacher_with_memory() -> nn.Module:
    """A teacher that would show if it were run in training mode: dropout draws, batch norm averages."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, CLASSES)
    ).eval()


def student_that_draws() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, CLASSES))


def train(strategy: KD | PlainStudent, student: nn.Module, teacher: Oracle, run: Run | None = None) -> nn.Module:
    execute(strategy.plan(student, teacher, run or toy_run("student")), Monitor())
    return student


def test_asking_the_teacher_changes_neither_it_nor_the_random_numbers() -> None:
    teacher = teacher_with_memory()
    before = fingerprint(teacher)
    asked = train(KD(alpha=0, epochs=2), student_that_draws(), ModelOracle(teacher, KD.access))
    plain = train(PlainStudent(epochs=2), student_that_draws(), ModelOracle(teacher, Access.NONE))
    assert fingerprint(asked) == fingerprint(plain)
    assert fingerprint(teacher) == before
    assert all(parameter.grad is None for parameter in teacher.parameters())


class Spy(nn.Module):
    """Keeps the images it is shown."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach().clone())
        output: Tensor = self.net(x)
        return output


def test_the_teacher_answers_for_the_very_images_the_student_sees() -> None:
    teacher, student = Spy(trained_network(epochs=1)), Spy(student_that_draws())
    changed = attrs.evolve(toy_run("student"), dataset=attrs.evolve(toy_dataset(), augment=("flip", "crop")))
    train(KD(epochs=2, batch_size=20), student, ModelOracle(teacher, KD.access), changed)
    assert [len(x) for x in student.seen] == [20, 20, 20, 4] * 2
    assert all(torch.equal(a, b) for a, b in zip(teacher.seen, student.seen, strict=True))
    assert not torch.equal(torch.cat(student.seen[:4]).sum(0), torch.cat(student.seen[4:]).sum(0)), "no augmentation"


def linear_net(run: Run) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(math.prod(run.info.shape), CLASSES)


def test_one_step_moves_the_weights_by_the_gradient_of_the_loss() -> None:
    run, teacher = toy_run("student"), trained_network(epochs=1)
    last = linear_net(run)
    strategy = KD(alpha=0.7, temperature=3.0, epochs=1, batch_size=64, optimizer="sgd", lr=1.0, momentum=0.0)
    everything = run.data.train.first(64)
    x, y = everything.images.flatten(1).double(), everything.labels
    z = x @ last.weight.detach().double().T + last.bias.detach().double()
    with torch.no_grad():
        target = (teacher(everything.images).double() / 3.0).softmax(1)
    pull = (0.3 * (z.softmax(1) - F.one_hot(y, CLASSES)) + 0.7 * 3.0 * ((z / 3.0).softmax(1) - target)) / 64
    before = last.weight.detach().double().clone()
    train(strategy, nn.Sequential(nn.Flatten(), last), ModelOracle(teacher, KD.access), run)
    assert close(last.weight.detach().double(), before - pull.T @ x, 1e-6)


class Wrong(Oracle):
    """A teacher that insists on the class after the right one."""

    access = KD.access

    def __init__(self, run: Run) -> None:
        self.queries = Queries()
        everything = run.data.train.first(1000)
        self._images, self._labels = everything.images.flatten(1), everything.labels

    def query(self, x: Tensor, taps: Sequence[str] = ()) -> Answer:
        nearest = torch.cdist(x.flatten(1), self._images).argmin(1)
        return Answer(self.access, 10 * F.one_hot((self._labels[nearest] + 1) % CLASSES, CLASSES).float(), {})

    def module(self) -> nn.Module:
        raise NotImplementedError


@pytest.mark.parametrize(("alpha", "shift"), [(0.9, 1), (0.0, 0)])
def test_the_student_believes_whom_alpha_says(alpha: float, shift: int) -> None:
    run = toy_run("student")
    student = run.network("student")
    train(KD(alpha=alpha, epochs=12, batch_size=16, lr=5e-3), student, Wrong(run), run)
    x, y = some_images(24)
    with torch.no_grad():
        assert (student(x).argmax(1) == (y + shift) % CLASSES).float().mean() > 0.9

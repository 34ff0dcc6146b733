from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rcframe_distill.adversarial import AdversarialDistill
from rcframe_distill.logits import Logits
from torch import Tensor, nn

from rcframe import Access, Distillation, ModelOracle, Oracle, Threat
from rcframe.options import build
from rcframe.testing.toys import CLASSES, sign_ascent, some_images, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_distance_is_the_mean_square_of_the_logits_or_the_divergence() -> None:
    crafted, wanted = logits(0), logits(1)
    assert torch.allclose(AdversarialDistill().distance(crafted, wanted), F.mse_loss(crafted, wanted), rtol=1e-10)
    divergence = F.kl_div((crafted / 3).log_softmax(1), (wanted / 3).softmax(1), reduction="batchmean")
    found = AdversarialDistill(loss="kl", temperature=3.0).distance(crafted, wanted)
    assert torch.allclose(found, 9 * divergence, rtol=1e-10)


class Linear(nn.Module):
    """A student whose crafted images are known: two classes, one weight per pixel."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(x.flatten(1))
        return logits


def attacked_step(student: Linear, teacher: Oracle, x: Tensor, away_from: str) -> Tensor:
    """The weight after one step of gradient descent on the mean square at images crafted in one step, by hand."""
    with torch.no_grad():
        wanted = teacher.logits(x)
        weight, bias = student.last.weight.double(), student.last.bias.double()
        z = x.flatten(1).double() @ weight.T + bias
        top = (z if away_from == "student" else wanted).argmax(1)
        pull = (z.softmax(1) - F.one_hot(top, CLASSES)) @ weight
        crafted = (x.flatten(1).double() + 0.1 * pull.sign()).clamp(0, 1)
        gap = crafted @ weight.T + bias - wanted.double()
        return weight - 2 * gap.T @ crafted / gap.numel()


@pytest.mark.parametrize("away_from", ["teacher", "student"])
def test_one_step_learns_the_clean_answer_at_the_crafted_image(away_from: str, teacher: nn.Module) -> None:
    student, run = Linear(), toy_run("student", AdversarialDistill.data)
    oracle = ModelOracle(teacher, AdversarialDistill.access)
    expected = attacked_step(student, oracle, run.data.train.first(64).images, away_from)
    # From `gaussian`, one step of the radius ends in the corner that the gradient points to.
    once = {"steps": 1, "step_size": 0.2, "attack_eps": 0.1, "start": "gaussian", "away_from": away_from}
    plain = {"epochs": 1, "batch_size": 64, "optimizer": "sgd", "lr": 1.0, "momentum": 0.0}
    strategy = build(AdversarialDistill, {**once, **plain}, "adversarial-distill")
    execute(strategy.plan(student, oracle, run), Monitor())
    found = student.last.weight.detach().double()
    assert float((found - expected).abs().mean()) < 2e-3
    assert float((found - expected).abs().mean()) < 0.05 * float((found - Linear().last.weight.detach()).abs().mean())


def withstood(strategy: Distillation, teacher: nn.Module) -> float:
    """The accuracy that a student trained by `strategy` keeps under an attack that is not the one it learned on."""
    run = toy_run("student", strategy.data)
    student = run.network("student")
    execute(strategy.plan(student, ModelOracle(teacher, strategy.access), run), Monitor())
    x, y = some_images(60)
    moved = sign_ascent(ModelOracle(student, Access.WHITE), x, y, Threat(0.3))
    with torch.no_grad():
        return float((student(moved).argmax(1) == y).float().mean())


def test_the_student_withstands_more_than_one_that_matches_clean_logits(teacher: nn.Module) -> None:
    plain = withstood(Logits(epochs=20, batch_size=16, lr=5e-3), teacher)
    robust = withstood(AdversarialDistill(epochs=20, batch_size=16, lr=5e-3, attack_eps=0.3, steps=5), teacher)
    assert robust > plain + 0.1

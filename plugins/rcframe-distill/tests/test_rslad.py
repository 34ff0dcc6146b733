from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_distill.crafting import away_from
from rcframe_distill.rslad import RSLAD, rslad_loss
from torch import Tensor, nn

from rcframe import Climb, ModelOracle
from rcframe.testing.toys import CLASSES, some_images, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor


def logits(seed: int) -> Tensor:
    return 3 * torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_the_one_computed_by_hand() -> None:
    teacher = torch.tensor([[math.log(3), 0.0]], dtype=torch.float64)
    attacked, clean = torch.zeros(1, 2).double(), torch.tensor([[math.log(4), 0.0]], dtype=torch.float64)
    robust = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    natural = 0.75 * math.log(0.75 / 0.8) + 0.25 * math.log(0.25 / 0.2)
    assert float(rslad_loss(clean, attacked, teacher, 5 / 6)) == pytest.approx(5 * robust / 6 + natural / 6, abs=1e-12)


@given(st.floats(0, 1), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_it_weighs_the_divergence_on_attacked_and_on_clean_images(alpha: float, seed: int) -> None:
    clean, attacked, teacher = (logits(seed + number) for number in range(3))
    p = teacher.softmax(1)
    robust, natural = (F.kl_div(z.log_softmax(1), p, reduction="batchmean") for z in (attacked, clean))
    expected = alpha * robust + (1 - alpha) * natural
    assert torch.allclose(rslad_loss(clean, attacked, teacher, alpha), expected, rtol=1e-10, atol=1e-10)


def test_imitating_perfectly_costs_nothing() -> None:
    assert float(rslad_loss(logits(0), logits(0), logits(0), 5 / 6)) == pytest.approx(0, abs=1e-10)


def test_the_weights_are_those_of_the_paper() -> None:
    assert RSLAD().alpha == pytest.approx(5 / 6, abs=1e-12)
    assert RSLAD().start == "gaussian"


def test_images_are_crafted_away_from_the_teachers_outputs(teacher: nn.Module, normed: nn.Module) -> None:
    (x, y), answers = some_images(), torch.randn(12, CLASSES, generator=torch.Generator().manual_seed(0))
    inner = RSLAD(attack_eps=0.1, steps=5).crafting(toy_run("student", RSLAD.data), normed)
    aimed = away_from(inner, answers)
    assert isinstance(aimed.attack, Climb)
    torch.manual_seed(0)
    moved = aimed.craft(x, y)
    normed.eval()
    with torch.no_grad():
        before, after = (F.cross_entropy(normed(each), answers.softmax(1), reduction="none") for each in (x, moved))
    assert (after > before).all()


def test_the_step_crafts_away_from_the_teacher_and_not_from_the_labels() -> None:
    """One step at a rate of 1 moves the weights as it does with images crafted by hand."""
    torch.manual_seed(0)
    # An unsure teacher: getting away from a sure one is getting away from its top answer.
    teacher, last = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES)).eval(), nn.Linear(64, CLASSES)
    run = toy_run("student", RSLAD.data)
    x = run.data.train.first(64).images
    weight, bias = last.weight.detach().double().clone(), last.bias.detach().double().clone()
    with torch.no_grad():
        p = teacher(x).double().softmax(1)
    flat = x.flatten(1).double()
    pull = ((flat @ weight.T + bias).softmax(1) - p) @ weight
    crafted = (flat + 0.1 * pull.sign()).clamp(0, 1)

    def slope(images: Tensor) -> Tensor:
        found: Tensor = ((images @ weight.T + bias).softmax(1) - p).T @ images / len(images)
        return found

    expected = weight - (5 / 6 * slope(crafted) + 1 / 6 * slope(flat))
    options = {"epochs": 1, "batch_size": 64, "lr": 1.0, "momentum": 0.0, "steps": 1, "step_size": 0.2}
    strategy = RSLAD(optimizer="sgd", attack_eps=0.1, **options)  # type: ignore[arg-type]
    student = nn.Sequential(nn.Flatten(), last)
    execute(strategy.plan(student, ModelOracle(teacher, RSLAD.access), run), Monitor())
    # The random start, 0.001 wide, decides the sign of a pixel that hardly matters.
    assert float((last.weight.detach() - expected).abs().mean()) < 0.02 * float((weight - expected).abs().mean())

from __future__ import annotations

import pytest
import torch
from rcframe_autoattack.asking import Asking, NothingLeft, Survivors
from torch import Tensor, nn

from rcframe import Access, ModelOracle


class Pixels(nn.Module):
    """The pixels themselves are the logits."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def rows(*pixels: tuple[float, float]) -> Tensor:
    return torch.tensor(pixels).view(-1, 1, 1, 2)


Y = torch.zeros(3, dtype=torch.int64)


def test_logits_may_be_written_into_without_touching_the_images() -> None:
    x = rows((0.3, 0.1))
    logits = Asking(ModelOracle(Pixels(), Access.LOGITS), torch.float32)(x)
    logits[0, 0] = -1
    assert x.flatten().tolist() == pytest.approx([0.3, 0.1])


def test_the_network_gets_the_type_it_works_in_and_the_package_float32() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).double().requires_grad_(False)
    x = rows((0.3, 0.1)).requires_grad_(True)
    oracle = ModelOracle(net, Access.LOGITS | Access.INPUT_GRAD)
    logits = Asking(oracle, torch.float64)(x)
    (gradient,) = torch.autograd.grad(logits[0, 0], x)
    assert logits.dtype == gradient.dtype == torch.float32
    assert torch.allclose(gradient.flatten().double(), net.get_parameter("1.weight")[0])
    assert oracle.queries.gradient_images == 1


def survivors() -> tuple[Survivors, list[int]]:
    """Return survivors of three images of class 0, and a list that tells how many were asked about in each call."""
    asked: list[int] = []

    def ask(x: Tensor) -> Tensor:
        asked.append(len(x))
        return x.flatten(1)

    return Survivors(ask, rows((0.9, 0.1), (0.8, 0.1), (0.7, 0.1)), Y), asked


def test_misclassified_images_are_kept_as_first_met_and_asked_about_no_more() -> None:
    watched, asked = survivors()
    watched(rows((0.9, 0.2), (0.3, 0.4), (0.7, 0.2)))
    watched(rows((0.9, 0.3), (0.1, 0.8), (0.5, 0.6)))
    watched(rows((0.8, 0.4), (0.0, 1.0), (0.0, 1.0)))
    assert asked == [3, 2, 1]
    assert watched.standing.tolist() == [True, False, False]
    assert torch.equal(watched.found, rows((0.9, 0.1), (0.3, 0.4), (0.5, 0.6)))


def test_fallen_images_look_right_and_have_no_gradient_while_the_others_answer_for_themselves() -> None:
    watched, _ = survivors()
    watched(rows((0.9, 0.2), (0.3, 0.4), (0.7, 0.2)))
    x = rows((0.6, 0.5), (0.1, 0.8), (0.7, 0.2)).requires_grad_(True)
    logits = watched(x)
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert torch.allclose(logits.detach(), torch.tensor([[0.6, 0.5], [1.0, 0.0], [0.7, 0.2]]))
    assert gradient.flatten(1).tolist() == [[1, 1], [0, 0], [1, 1]]


def test_once_nothing_is_left_no_more_is_asked() -> None:
    watched, asked = survivors()
    watched(rows((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)))
    with pytest.raises(NothingLeft):
        watched(rows((0.0, 1.0), (0.0, 1.0), (0.0, 1.0)))
    assert asked == [3]

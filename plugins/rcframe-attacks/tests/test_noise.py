from __future__ import annotations

import pytest
import torch
from rcframe_attacks.noise import Gaussian, Uniform

from rcframe import Access, ModelOracle, Norm, Threat
from rcframe.testing.toys import trained_network

X = torch.full((50, 1, 10, 10), 0.5)
Y = torch.zeros(50, dtype=torch.long)


def craft(attack: Uniform | Gaussian, eps: float, norm: Norm) -> torch.Tensor:
    torch.manual_seed(0)
    oracle = ModelOracle(trained_network(), Access.NONE)
    moved = attack.craft(oracle, X, Y, Threat(eps, norm)) - X
    assert oracle.queries.images == 0, "noise asks nothing"
    return moved.flatten(1)


def test_corners_of_linf_move_every_pixel_by_eps_up_or_down_alike() -> None:
    moved = craft(Uniform(), 0.25, "linf")
    assert set(torch.unique(moved).tolist()) == {-0.25, 0.25}
    assert float(moved.mean().abs()) < 0.02


def test_in_l2_the_far_points_lie_on_the_sphere() -> None:
    assert torch.allclose(craft(Uniform(), 0.7, "l2").norm(dim=1), torch.tensor(0.7))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_corners_points_are_inside(norm: Norm) -> None:
    moved = craft(Uniform(corners=False), 0.2, norm)
    distance = moved.abs().amax(1) if norm == "linf" else moved.norm(dim=1)
    assert float(distance.max()) <= 0.2 + 1e-6
    assert torch.unique(moved).numel() > 1000


@pytest.mark.parametrize(("norm", "eps", "std"), [("linf", 0.2, 0.1), ("l2", 1.0, 0.1)])
def test_normal_noise_has_the_usual_deviation_and_is_cut_off(norm: Norm, eps: float, std: float) -> None:
    free = craft(Gaussian(std=std), 100.0, norm)
    assert float(free.std()) == pytest.approx(std, rel=0.05)
    usual = craft(Gaussian(), eps, norm)
    distance = usual.abs().amax(1) if norm == "linf" else usual.norm(dim=1)
    assert float(distance.max()) <= eps + 1e-6
    assert torch.equal(usual, Threat(eps, norm).project(X + free.view_as(X), X).sub(X).flatten(1))


def test_every_call_draws_anew_from_the_seeded_generator() -> None:
    assert torch.equal(craft(Uniform(), 0.1, "linf"), craft(Uniform(), 0.1, "linf"))
    oracle = ModelOracle(trained_network(), Access.NONE)
    first, second = (Uniform().craft(oracle, X, Y, Threat(0.1)) for _ in range(2))
    assert not torch.equal(first, second)

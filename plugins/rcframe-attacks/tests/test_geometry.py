from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from rcframe_attacks.geometry import Region, random_point, steepest

from rcframe import Threat
from rcframe.api import Norm

NORMS: tuple[Norm, ...] = ("linf", "l2")


def test_the_steepest_step_is_the_one_computed_by_hand() -> None:
    gradient = torch.tensor([3.0, 0.0, -4.0, 0.0]).view(1, 1, 2, 2)
    assert steepest(gradient, Threat(1, "linf")).flatten().tolist() == [1, 0, -1, 0]
    assert torch.allclose(steepest(gradient, Threat(1, "l2")).flatten(), torch.tensor([0.6, 0, -0.8, 0]))


@pytest.mark.parametrize("norm", NORMS)
def test_without_a_gradient_there_is_no_step(norm: Norm) -> None:
    assert not steepest(torch.zeros(2, 1, 2, 2), Threat(1, norm)).any()


@given(st.integers(0, 1000), st.floats(0.001, 1), st.sampled_from(NORMS))
@settings(max_examples=40, deadline=None)
def test_a_region_projects_as_its_threat_does_to_the_bit(seed: int, eps: float, norm: Norm) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(4, 1, 3, 3, generator=generator).round(decimals=1)
    points = x + 2 * eps * torch.randn(x.shape, generator=generator)
    threat = Threat(eps, norm)
    expected = threat.project(points, x)
    assert torch.equal(Region.around(x, threat).project(points.clone()), expected)
    some = torch.tensor([2, 0])
    assert torch.equal(Region.around(x, threat).rows(some).project(points[some]), expected[some])


@pytest.mark.parametrize("norm", NORMS)
def test_random_points_fill_the_ball_evenly(norm: Norm) -> None:
    torch.manual_seed(0)
    x = torch.rand(4000, 1, 1, 3, dtype=torch.float64)
    threat = Threat(0.2, norm)
    offsets = (random_point(x, threat) - x).flatten(1)
    # The fraction of the ball's volume that is nearer to the centre than a point is uniform.
    inside = (threat.distance(x + offsets.view_as(x), x) / 0.2) ** 3
    expected = torch.linspace(0, 1, 4000, dtype=torch.float64)
    assert float((inside.sort().values - expected).abs().max()) < 0.03
    assert float(offsets.mean(0).abs().max()) < 0.01
    assert float((offsets > 0).double().mean()) == pytest.approx(0.5, abs=0.03)

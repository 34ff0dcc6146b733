from __future__ import annotations

import torch
from hypothesis import given, settings, strategies as st
from rcframe_attacks.geometry import Region

from rcframe import Threat
from rcframe.api import Norm

NORMS: tuple[Norm, ...] = ("linf", "l2")


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

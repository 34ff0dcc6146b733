from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.api import Norm
from rcframe.errors import RequestError
from rcframe.evaluation.threat import Threat, make_threat

NORMS: tuple[Norm, ...] = ("linf", "l2")
norms = st.sampled_from(NORMS)
radii = st.floats(0, 1)
seeds = st.integers(0, 10_000)


def images(seed: int, low: float = 0.0, high: float = 1.0, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(count, 2, 3, 2, generator=generator)


def column(*pixels: float) -> Tensor:
    """One image of one channel and one column."""
    return torch.tensor(pixels).view(1, 1, -1, 1)


@given(norms, radii, seeds)
def test_projected_images_are_inside_the_ball_and_inside_the_pixel_range(norm: Norm, eps: float, seed: int) -> None:
    x, threat = images(seed), Threat(eps, norm)
    moved = threat.project(images(seed + 1, -1.5, 2.5), x)
    assert float(threat.distance(moved, x).max()) <= eps * (1 + 1e-5) + 1e-7
    assert float(moved.min()) >= 0
    assert float(moved.max()) <= 1


@given(radii, seeds)
def test_linf_projection_is_the_nearest_point_of_the_threat(eps: float, seed: int) -> None:
    x, outside = images(seed), images(seed + 1, -1.5, 2.5)
    nearest = np.clip(outside.numpy(), np.maximum(x.numpy() - eps, 0), np.minimum(x.numpy() + eps, 1))
    np.testing.assert_allclose(Threat(eps).project(outside, x).numpy(), nearest, atol=1e-6)


@given(norms, radii, seeds)
def test_projecting_twice_is_projecting_once(norm: Norm, eps: float, seed: int) -> None:
    x, threat = images(seed), Threat(eps, norm)
    once = threat.project(images(seed + 1, -1.5, 2.5), x)
    torch.testing.assert_close(threat.project(once, x), once, rtol=0, atol=0 if norm == "linf" else 1e-6)


@given(norms, st.floats(0.01, 1), seeds)
def test_images_inside_the_threat_stay_where_they_are(norm: Norm, eps: float, seed: int) -> None:
    x = images(seed)
    step = images(seed + 1, -1, 1)
    size = step.flatten(1).norm(dim=1) if norm == "l2" else torch.ones(3)
    inside = (x + 0.99 * eps * step / size.view(-1, 1, 1, 1)).clamp(0, 1)
    torch.testing.assert_close(Threat(eps, norm).project(inside, x), inside, rtol=0, atol=1e-6)


@given(st.floats(0.01, 0.3), seeds)
def test_a_long_l2_step_ends_on_the_sphere_in_its_own_direction(eps: float, seed: int) -> None:
    x, step = images(seed, 0.4, 0.6), images(seed + 1, -1, 1)
    moved = Threat(eps, "l2").project(x + step, x) - x
    torch.testing.assert_close(moved.flatten(1).norm(dim=1), torch.full((3,), eps), rtol=1e-4, atol=1e-6)
    assert float(torch.cosine_similarity(moved.flatten(1), step.flatten(1)).min()) > 1 - 1e-4


@pytest.mark.parametrize(
    ("norm", "eps", "x", "proposal", "expected"),
    [
        ("linf", 0.1, (0.5, 0.5), (0.9, 0.45), (0.6, 0.45)),
        ("linf", 0.1, (0.5, 0.05), (0.1, -3.0), (0.4, 0.0)),
        ("linf", 0.1, (0.95, 0.5), (7.0, 0.5), (1.0, 0.5)),
        ("l2", 0.25, (0.5, 0.5), (0.8, 0.9), (0.65, 0.7)),
        ("l2", 0.5, (0.5, 0.5), (0.8, 0.9), (0.8, 0.9)),
        ("l2", 1.0, (0.9, 0.5), (3.9, 4.5), (1.0, 1.0)),
    ],
)
def test_projection_by_hand(
    norm: Norm, eps: float, x: tuple[float, ...], proposal: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    torch.testing.assert_close(Threat(eps, norm).project(column(*proposal), column(*x)), column(*expected))


def test_l2_balls_are_those_of_each_image_alone() -> None:
    x = torch.full((2, 1, 2, 1), 0.5)
    proposal = torch.cat([column(0.5, 0.51), column(0.5, 0.9)])
    moved = Threat(0.1, "l2").project(proposal, x)
    torch.testing.assert_close(moved, torch.cat([column(0.5, 0.51), column(0.5, 0.6)]))


@given(norms, seeds)
def test_eps_zero_gives_the_originals_back(norm: Norm, seed: int) -> None:
    x = images(seed)
    assert torch.equal(Threat(0.0, norm).project(images(seed + 1, -1, 2), x), x)


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_that_did_not_move_is_no_division_by_zero(norm: Norm) -> None:
    x = images(0)
    assert torch.equal(Threat(0.1, norm).project(x.clone(), x), x)


def test_projection_leaves_its_arguments_alone_and_keeps_their_type() -> None:
    x, proposal = images(0).double(), images(1, -1, 2).double()
    before = x.clone(), proposal.clone()
    assert Threat(0.1, "l2").project(proposal, x).dtype == torch.float64
    assert torch.equal(x, before[0])
    assert torch.equal(proposal, before[1])


def test_bounds_other_than_the_unit_interval_are_respected() -> None:
    threat = Threat(0.5, "linf", (-1.0, 0.25))
    torch.testing.assert_close(threat.project(column(9, -9), column(0, -0.75)), column(0.25, -1.0))


def test_distance_by_hand() -> None:
    x = torch.zeros(2, 1, 2, 1)
    moved = torch.cat([column(0.3, -0.4), column(0.0, 0.2)])
    torch.testing.assert_close(Threat(1, "linf").distance(moved, x), torch.tensor([0.4, 0.2]))
    torch.testing.assert_close(Threat(1, "l2").distance(moved, x), torch.tensor([0.5, 0.2]))


def test_eps_is_kept_as_typed() -> None:
    threat = make_threat("8/255", "linf")
    assert threat.eps == 8 / 255
    assert str(threat.eps) == "8/255"
    assert make_threat(0.03, "l2").eps == 0.03


@pytest.mark.parametrize(
    ("eps", "norm", "words"),
    [
        (None, "linf", "No eps was given"),
        ("0.1", "l1", "No norm `l1`. Norms: linf, l2"),
        ("eight", "linf", "'eight'"),
        ("1/0", "linf", "'1/0'"),
        ("nan", "linf", "must be a number"),
        (float("inf"), "l2", "must be a number"),
        ("-0.1", "l2", "cannot be negative"),
        (8, "linf", "write 8/255"),
    ],
)
def test_a_senseless_threat_is_refused_with_its_reason(eps: float | str | None, norm: str, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        make_threat(eps, norm)


def test_an_l2_radius_may_exceed_one() -> None:
    assert make_threat(3, "l2").eps == 3


def test_the_steepest_step_is_the_one_computed_by_hand() -> None:
    gradient = torch.tensor([3.0, 0.0, -4.0, 0.0]).view(1, 1, 2, 2)
    assert Threat(1, "linf").steepest(gradient).flatten().tolist() == [1, 0, -1, 0]
    assert torch.allclose(Threat(1, "l2").steepest(gradient).flatten(), torch.tensor([0.6, 0, -0.8, 0]))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_a_gradient_there_is_no_step(norm: Norm) -> None:
    assert not Threat(1, norm).steepest(torch.zeros(2, 1, 2, 2)).any()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_random_points_fill_the_ball_evenly(norm: Norm) -> None:
    torch.manual_seed(0)
    x = torch.rand(4000, 1, 1, 3, dtype=torch.float64)
    threat = Threat(0.2, norm)
    offsets = (threat.random_point(x) - x).flatten(1)
    # The fraction of the ball's volume that is nearer to the centre than a point is uniform.
    inside = (threat.distance(x + offsets.view_as(x), x) / 0.2) ** 3
    expected = torch.linspace(0, 1, 4000, dtype=torch.float64)
    assert float((inside.sort().values - expected).abs().max()) < 0.03
    assert float(offsets.mean(0).abs().max()) < 0.01
    assert float((offsets > 0).double().mean()) == pytest.approx(0.5, abs=0.03)

from __future__ import annotations

import pytest
import torch
from rcframe_blackbox import labels
from rcframe_blackbox.labels import boundary_slope, halvings, noise_on_grid, noisy_start, to_boundary
from torch import Tensor, nn

from rcframe import Access, ModelOracle, Norm, Threat
from rcframe.training.randomness import seeded

NORMS: tuple[Norm, ...] = ("linf", "l2")


def oracle(net: nn.Module) -> ModelOracle:
    return ModelOracle(net, Access.LABEL)


class Brighter(nn.Module):
    """Sees class 1 where a weighted sum of pixels exceeds a threshold."""

    def __init__(self, weight: list[float], threshold: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight, dtype=torch.float64))
        self.threshold = threshold

    def forward(self, x: Tensor) -> Tensor:
        value = x.flatten(1) @ self.get_buffer("weight") - self.threshold
        return torch.stack([-value, value], dim=1)


def image(*pixels: float) -> Tensor:
    return torch.tensor(pixels, dtype=torch.float64).view(1, 1, 1, -1)


ZERO = torch.tensor([0])


def test_an_interval_is_halved_until_it_is_short_enough() -> None:
    assert [halvings(part) for part in (0.5, 0.25, 0.2, 0.001)] == [1, 2, 3, 10]


def test_the_boundary_is_found_on_the_straight_line() -> None:
    net = oracle(Brighter([1.0, 1.0], 0.9))
    found = to_boundary(net, image(0.2, 0.2), ZERO, image(1.0, 0.4), "l2", 20)
    # 0.4 + 1.0 t = 0.9 at t = 0.5.
    assert found.flatten().tolist() == pytest.approx([0.6, 0.3], abs=2e-6)
    assert net.labels(found).item() == 1
    assert net.queries.images == 20 + 1


def test_the_boundary_in_linf_is_found_by_a_growing_ball() -> None:
    net = oracle(Brighter([1.0, 1.0], 0.9))
    found = to_boundary(net, image(0.2, 0.2), ZERO, image(1.0, 0.4), "linf", 20)
    # The second pixel stops at 0.4, so the first has to exceed 0.5: a ball of 0.3.
    assert found.flatten().tolist() == pytest.approx([0.5, 0.4], abs=2e-6)
    assert net.labels(found).item() == 1


@pytest.mark.parametrize("norm", NORMS)
def test_a_point_on_the_boundary_comes_back_itself(norm: Norm) -> None:
    outside = image(0.7, 0.2000000001)
    found = to_boundary(oracle(Brighter([1.0, 1.0], 0.9)), image(0.1, 0.3), ZERO, outside, norm, 12)
    assert torch.equal(found, outside)


@pytest.mark.parametrize("norm", NORMS)
def test_the_slope_at_the_boundary_is_that_of_the_network(norm: Norm) -> None:
    torch.manual_seed(0)
    weight = torch.randn(16, dtype=torch.float64)
    point = torch.full((2, 1, 4, 4), 0.5, dtype=torch.float64)
    net = Brighter(weight.tolist(), float(0.5 * weight.sum()))
    source = oracle(net)
    with seeded(0):
        slope = boundary_slope(source, point, torch.tensor([0, 1]), Threat(1, norm), torch.tensor([0.1, 0.01]), 3000)
    assert source.queries.images == 2 * 3000
    cosines = torch.cosine_similarity(slope.flatten(1), torch.stack([weight, -weight]))
    assert float(cosines.min()) > 0.95
    assert torch.allclose(slope.flatten(1).norm(dim=1), torch.ones(2, dtype=torch.float64))


def test_the_slope_is_found_where_nearly_all_neighbours_agree() -> None:
    # 1.5 widths inside the misclassified side: one direction in fifteen is still right.
    weight = torch.zeros(16, dtype=torch.float64)
    weight[5] = 1.0
    point = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)
    with seeded(0):
        source = oracle(Brighter(weight.tolist(), 0.5 - 0.04))
        slope = boundary_slope(source, point, ZERO, Threat(1, "l2"), torch.tensor([0.1]).double(), 3000)
    assert float(slope.flatten()[5]) > 0.9


def test_what_nearly_all_neighbours_say_is_no_slope() -> None:
    weight = torch.zeros(16, dtype=torch.float64)
    weight[5] = 1.0
    points = torch.full((50, 1, 4, 4), 0.5, dtype=torch.float64)
    with seeded(0):
        source = oracle(Brighter(weight.tolist(), 0.5 - 0.04))
        width = torch.full((50,), 0.1, dtype=torch.float64)
        slope = boundary_slope(source, points, torch.zeros(50).long(), Threat(1, "l2"), width, 200)
    # It is 0.88, and would be 0.60 if the mean were not taken away.
    assert float(slope.flatten(1)[:, 5].mean()) > 0.8


def test_directions_count_as_far_as_pixels_could_move() -> None:
    point = torch.full((1, 1, 4, 4), 0.5, dtype=torch.float64)
    point[0, 0, 0, 0] = 0.0
    with seeded(0):
        source = oracle(Brighter([0.0] * 16, -1.0))
        slope = boundary_slope(source, point, ZERO, Threat(1, "l2"), torch.tensor([0.1]).double(), 2000)
    # All neighbours err, and the first pixel can only have become brighter.
    assert float(slope.flatten()[0]) > 0.9


def test_how_many_are_asked_at_once_changes_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "_AT_ONCE", 6)
    source = oracle(Brighter([1.0] * 16, 8.0))
    point = torch.full((4, 1, 4, 4), 0.5, dtype=torch.float64)
    with seeded(0):
        slope = boundary_slope(source, point, torch.zeros(4).long(), Threat(1, "l2"), torch.full((4,), 0.1), 300)
    assert source.queries.images == 4 * 300
    assert float(torch.cosine_similarity(slope.flatten(1), torch.ones(4, 16)).min()) > 0.8


def test_noise_is_constant_on_the_cells_of_its_grid() -> None:
    like = torch.zeros(3, 2, 8, 8)
    with seeded(0):
        for side in (1, 2, 4):
            cells = noise_on_grid(like, side).view(3, 2, side, 8 // side, side, 8 // side)
            assert torch.equal(cells.amax(dim=(3, 5)), cells.amin(dim=(3, 5)))
            assert len(set(cells.amax(dim=(3, 5)).flatten().tolist())) == 3 * 2 * side * side
        assert len(set(noise_on_grid(like, None).flatten().tolist())) > 370
        assert noise_on_grid(torch.zeros(1, 1, 7, 5), 4).shape == (1, 1, 7, 5)


def test_a_start_costs_what_it_took() -> None:
    x, y = torch.rand(50, 1, 2, 2, dtype=torch.float64), torch.arange(50) % 2
    source = oracle(Brighter([1.0] * 4, 3.0))
    with seeded(0):
        start = noisy_start(source, x, y, 5)
    assert int(start.cost.sum()) == source.queries.images
    assert bool(start.found[y == 1].all()), "class 0 is what most noise is"
    assert 0 < int(start.found[y == 0].sum()) < 25
    assert bool((start.cost[~start.found] == 5).all())
    assert torch.equal(start.images[~start.found], x[~start.found])
    assert bool((source.labels(start.images)[start.found] != y[start.found]).all())

from __future__ import annotations

import pytest
import torch
from rcframe_blackbox import ascent
from rcframe_blackbox.ascent import Slope, climb, confusion
from rcframe_blackbox.nes import RunningMean, gaussian
from rcframe_blackbox.spsa import corners
from torch import Tensor, nn

from rcframe import Access, ModelOracle, Oracle, Threat
from rcframe.training.randomness import seeded

#: Rows that are orthogonal: the mean over them of (w u) u is w itself.
HADAMARD = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]], dtype=torch.float64)


def oracle(net: nn.Module) -> ModelOracle:
    return ModelOracle(net, Access.LOGITS)


def linear() -> tuple[nn.Module, Tensor]:
    """Return a linear network of two classes on four pixels, and the slope (4,) of the confusion of class 0."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).double()
    weight = net.get_parameter("1.weight").detach()
    return net, weight[1] - weight[0]


def rows(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return HADAMARD.view(4, 1, 1, 2, 2).expand(shape)


def test_confusion_is_the_lead_of_the_largest_other_logit() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.5], [1.0, 4.0, 2.5]])
    assert confusion(logits, torch.tensor([1, 2])).tolist() == [-1.5, 1.5]


@pytest.mark.parametrize("width", [0.001, 0.1])
def test_with_orthogonal_directions_the_slope_of_a_linear_network_is_exact(width: float) -> None:
    net, w = linear()
    x = torch.full((3, 1, 2, 2), 0.5, dtype=torch.float64)
    y = torch.tensor([0, 1, 0])
    slope = Slope(oracle(net), Threat(1), pairs=4, width=width, draw=rows)(x, y)
    assert torch.allclose(slope.flatten(1), torch.stack([w, -w, w]), atol=1e-9)


def test_a_pixel_at_the_end_of_its_range_shows_half_its_slope() -> None:
    net, w = linear()
    x = torch.tensor([0.5, 0.5, 0.0, 1.0], dtype=torch.float64).view(1, 1, 2, 2)
    slope = Slope(oracle(net), Threat(1), pairs=4, width=0.01, draw=rows)(x, torch.tensor([0]))
    assert torch.allclose(slope.flatten(), w * torch.tensor([1, 1, 0.5, 0.5]), atol=1e-9)


def test_how_many_are_asked_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    net, _ = linear()
    x, y = torch.rand(3, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 0])
    drawn = torch.randn(10, 3, 1, 2, 2, dtype=torch.float64)

    def estimate() -> tuple[Tensor, int, int]:
        left = list(drawn)

        def draw(shape: tuple[int, ...], like: Tensor) -> Tensor:
            return torch.stack([left.pop(0) for _ in range(shape[0])])

        source = oracle(net)
        return Slope(source, Threat(1), 10, 0.01, draw)(x, y), source.queries.images, source.queries.calls

    whole, images, calls = estimate()
    monkeypatch.setattr(ascent, "_AT_ONCE", 20)
    parts, images_of_parts, calls_of_parts = estimate()
    assert torch.allclose(whole, parts, atol=1e-12)
    assert images == images_of_parts == 2 * 10 * 3
    assert (calls, calls_of_parts) == (1, 4)


@pytest.mark.parametrize("draw", [gaussian, corners])
def test_random_directions_find_the_signs_of_a_linear_network(draw: ascent.Draw) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).double()
    weight = net.get_parameter("1.weight").detach()
    x, y = torch.rand(5, 1, 8, 8, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 1])
    with seeded(0):
        slope = Slope(oracle(net), Threat(1), 4000, 1e-3, draw)(x, y).flatten(1)
    expected = weight[1 - y] - weight[y]
    clear = expected.abs() > 0.03
    assert float((slope.sign() == expected.sign())[clear].double().mean()) > 0.97
    assert float(torch.cosine_similarity(slope, expected).min()) > 0.95


def test_neighbours_are_even_and_of_the_right_size() -> None:
    like = torch.zeros(1, dtype=torch.float64)
    with seeded(0):
        normal, signs = gaussian((20, 30, 1, 4, 4), like), corners((20, 30, 1, 4, 4), like)
    assert normal.dtype == signs.dtype == torch.float64
    assert float(normal.mean()) == pytest.approx(0, abs=0.05)
    assert float(normal.std()) == pytest.approx(1, abs=0.05)
    assert set(signs.flatten().tolist()) == {-1.0, 1.0}
    assert float(signs.mean()) == pytest.approx(0, abs=0.05)


class Fading(nn.Module):
    """Sees class 0 while the mean of the pixels is below a half."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.flatten(1).mean(dim=1)
        return torch.stack([0.5 - mean, mean - 0.5], dim=1) + 1


def up(source: Oracle) -> Slope:
    return Slope(source, Threat(1), pairs=2, width=0.001, draw=lambda shape, like: torch.ones(shape).to(like))


def test_broken_images_stay_where_they_are_and_cost_nothing_more() -> None:
    levels = torch.tensor([0.6, 0.46, 0.26, 0.1])
    x, y = levels.view(4, 1, 1, 1).expand(4, 1, 2, 2).clone(), torch.zeros(4, dtype=torch.long)
    source = oracle(Fading())
    mover = RunningMean(torch.zeros_like(x), 0.0, 0.1, "linf")
    found = climb(x, y, up(source), mover, 3, early_stop=True)
    # The first errs from the start, the second after one step, the third after three, which nobody looks at any more.
    assert torch.allclose(found[:, 0, 0, 0], torch.tensor([0.6, 0.56, 0.56, 0.4]))
    assert source.queries.images == (4 + 3 + 2) + 4 * (3 + 2 + 2)
    every = oracle(Fading())
    mover = RunningMean(torch.zeros_like(x), 0.0, 0.1, "linf")
    found = climb(x, y, up(every), mover, 3, early_stop=False)
    assert torch.allclose(found[:, 0, 0, 0], torch.tensor([0.9, 0.76, 0.56, 0.4]))
    assert every.queries.images == 4 * 4 * 3

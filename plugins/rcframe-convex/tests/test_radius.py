"""Certified radii by bisection."""

from __future__ import annotations

import pytest
import torch
from rcframe_convex.certifier import Convex
from rcframe_convex.radius import radius
from torch import Tensor, nn

from rcframe.api import Norm
from rcframe.errors import RequestError
from rcframe.evaluation.threat import Threat


def golden() -> tuple[nn.Module, Tensor]:
    """Return a net of two hidden units whose bounds can be computed on paper, and its input."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    state = {
        "1.weight": [[1, -1], [1, 1]],
        "1.bias": [0, -0.5],
        "3.weight": [[1, 0.5], [-1, 1]],
        "3.bias": [0.25, 0],
    }
    net.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()})
    return net, torch.tensor([[0.6, 0.2]], dtype=torch.float64).view(1, 2, 1, 1)


def random_net() -> nn.Sequential:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(75, 8), nn.ReLU(), nn.Linear(8, 3)
    )
    return net.double()


def test_golden_net() -> None:
    net, x = golden()
    assert radius(net, x, torch.tensor([0])).item() == pytest.approx(0.217277, abs=1e-5)


def test_radius_is_zero_where_the_network_errs() -> None:
    net, x = golden()
    assert radius(net, x, torch.tensor([1])).tolist() == [0]


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_linear_network_is_exact(norm: Norm, dual: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3)).double()
    x = torch.rand(5, 1, 2, 3, dtype=torch.float64)
    logits, weight = net(x), net[1].weight
    assert isinstance(weight, Tensor)
    y = logits.argmax(dim=1)
    expected = []
    for row, label in zip(logits, y.tolist(), strict=True):
        others = [j for j in range(3) if j != label]
        ratios = [(row[label] - row[j]) / (weight[label] - weight[j]).norm(dual) for j in others]
        expected.append(min(ratio.item() for ratio in ratios))
    found = radius(net, x, y, norm)
    assert found.tolist() == pytest.approx(expected, abs=5e-5)


def test_every_returned_radius_is_proved_and_no_attack_gets_inside() -> None:
    net = random_net()
    x = torch.rand(6, 1, 5, 5, dtype=torch.float64)
    y = net(x).argmax(dim=1)
    found = radius(net, x, y)
    assert bool((found > 0).all())
    for image, label, size in zip(x[:, None], y[:, None], found.tolist(), strict=True):
        margins = Convex().margins(net, image, label, Threat(size))[0]
        assert bool((margins[[j for j in range(3) if j != label]] > 0).all())
        moved = image + size * (4 * torch.rand(2000, 1, 5, 5, dtype=torch.float64) - 2).clamp(-1, 1)
        assert bool((net(moved).argmax(dim=1) == label).all())


def test_batches_and_their_order_do_not_matter() -> None:
    net = random_net()
    x = torch.rand(6, 1, 5, 5, dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    together = radius(net, x, y)
    torch.testing.assert_close(torch.cat([radius(net, x[[i]], y[[i]]) for i in range(6)]), together)
    torch.testing.assert_close(radius(net, x.flip(0), y.flip(0)).flip(0), together)


def test_search_stops_at_the_largest() -> None:
    net, x = golden()
    y = torch.tensor([0])
    assert radius(net, x, y, largest=0.1).tolist() == [0.1]
    coarse = radius(net, x, y, halvings=3).item()
    assert coarse == 0.125, "of 1, 0.5, 0.25 and 0.125 only the last is proved"


def test_pixel_range_allows_larger_radii() -> None:
    net = random_net()
    x = torch.rand(6, 1, 5, 5, dtype=torch.float64).round()
    y = net(x).argmax(dim=1)
    whole, inside = (radius(net, x, y, certifier=Convex(bounded=bounded)) for bounded in (False, True))
    assert bool((inside >= whole).all())
    assert float((inside - whole).mean()) > 0


def test_requests_that_make_no_sense_are_refused() -> None:
    net, x = golden()
    y = torch.tensor([0])
    with pytest.raises(RequestError, match="No norm `l1`"):
        radius(net, x, y, "l1")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(RequestError, match="pixels lie in"):
        radius(net, x, y, largest=8)
    with pytest.raises(RequestError, match="images to certify"):
        radius(net, 255 * x, y)
    with pytest.raises(RequestError, match="cannot certify"):
        radius(nn.Sequential(net, nn.Sigmoid()), x, y)

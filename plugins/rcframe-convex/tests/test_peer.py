"""The bound against the code that its authors published, where that is installed (`convex_adversarial`)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from rcframe_convex.certifier import Convex
from torch import Tensor, nn

from rcframe.api import Norm
from rcframe.evaluation.threat import Threat

peer = pytest.importorskip("convex_adversarial.dual_network")


def convnet() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 30),
        nn.ReLU(),
        nn.Linear(30, 10),
    ).double()


def mlp() -> nn.Sequential:
    torch.manual_seed(0)
    hidden = [nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(32, 10)).double()


def published(net: nn.Module, x: Tensor, y: Tensor, eps: float, norm: Norm, bounded: bool) -> Tensor:
    """Return the margins (B, 10) of the published code."""
    units = torch.eye(10, dtype=x.dtype)
    dual_norm = "l1" if norm == "linf" else "l2"
    dual = peer.DualNetwork(net, x, eps, norm_type=dual_norm, bounded_input=bounded)
    found: Tensor = dual(units[y].unsqueeze(1) - units.unsqueeze(0))
    return found


@pytest.mark.parametrize("build", [convnet, mlp])
@pytest.mark.parametrize("eps", [0.01, 0.05, 0.2])
@pytest.mark.parametrize(("norm", "bounded"), [("linf", False), ("linf", True), ("l2", False)])
def test_margins_equal_those_of_the_authors(
    build: Callable[[], nn.Sequential], eps: float, norm: Norm, bounded: bool
) -> None:
    net, x, y = build(), torch.rand(5, 1, 8, 8, dtype=torch.float64), torch.arange(5)
    with torch.no_grad():
        margins = Convex(bounded=bounded).margins(net, x, y, Threat(eps, norm))
        torch.testing.assert_close(margins, published(net, x, y, eps, norm, bounded), atol=1e-12, rtol=1e-12)

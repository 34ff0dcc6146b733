"""The bound against independent implementations: explicit matrices and the paper's formulas, and a linear program."""

from __future__ import annotations

from itertools import pairwise

import attrs
import numpy as np
import numpy.typing as npt
import pytest
import torch
from rcframe_convex.bounds import Ball, margin_bounds
from rcframe_convex.network import read
from scipy.optimize import linprog
from torch import Tensor, nn

from rcframe.api import Norm

Array = npt.NDArray[np.float64]


@attrs.frozen(eq=False)
class Affine:
    """One layer zhat = W z + b."""

    weight: Array
    bias: Array


def as_matrices(net: nn.Sequential, shape: tuple[int, ...]) -> list[Affine]:
    """Probe the layers between the ReLUs with unit vectors."""
    pieces: list[list[nn.Module]] = [[]]
    for layer in net.eval():
        if isinstance(layer, nn.ReLU):
            pieces.append([])
        else:
            pieces[-1].append(layer)
    found: list[Affine] = []
    for piece in pieces:
        apply = nn.Sequential(*piece)
        size = int(np.prod(shape))
        with torch.no_grad():
            origin = apply(torch.zeros(1, *shape, dtype=torch.float64))
            images = apply(torch.eye(size, dtype=torch.float64).view(size, *shape)) - origin
        found.append(Affine(images.flatten(1).T.numpy(), origin.flatten().numpy()))
        shape = tuple(origin.shape[1:])
    return found


@attrs.frozen(eq=False)
class Interval:
    """Bounds on the input of one layer of ReLUs."""

    low: Array
    high: Array

    @property
    def crossing(self) -> npt.NDArray[np.bool_]:
        """Which units may be on either side of 0."""
        return (self.low < 0) & (self.high > 0)


def dual_value(layers: list[Affine], hidden: list[Interval], x: Array, eps: float, norm: Norm, c: Array) -> float:
    """Return J as the paper writes it, going down from nu_k = -c, one objective at a time."""
    nu = -c
    value: float = 0.0
    for layer, interval in zip(reversed(layers), [*reversed(hidden), None], strict=True):
        value -= float(nu @ layer.bias)
        nu_hat = layer.weight.T @ nu
        if interval is None:
            dual_norm = np.abs(nu_hat).sum() if norm == "linf" else np.sqrt((nu_hat**2).sum())
            return float(value - x @ nu_hat - eps * dual_norm)
        inside = interval.crossing
        slope = np.where(interval.low >= 0, 1.0, 0.0)
        slope[inside] = interval.high[inside] / (interval.high[inside] - interval.low[inside])
        nu = slope * nu_hat
        value += float((interval.low[inside] * np.maximum(nu[inside], 0)).sum())
    raise AssertionError("the loop ends at the input")


def paper_intervals(layers: list[Affine], x: Array, eps: float, norm: Norm) -> list[Interval]:
    """Bound every layer of ReLUs by minimising each unit and its negative."""
    hidden: list[Interval] = []
    for depth in range(1, len(layers)):
        below = layers[:depth]
        units = np.eye(len(below[-1].bias))
        low = np.array([dual_value(below, hidden, x, eps, norm, unit) for unit in units])
        high = np.array([-dual_value(below, hidden, x, eps, norm, -unit) for unit in units])
        hidden.append(Interval(low, high))
    return hidden


def linear_program(layers: list[Affine], hidden: list[Interval], x: Array, eps: float, c: Array) -> float:
    """Minimise c over the triangles, all at once: what no choice of slopes can beat."""
    sizes = [len(x), *(len(layer.bias) for layer in layers[:-1])]
    starts = np.cumsum([0, *sizes])
    above, limits = [], []
    for depth, (layer, interval) in enumerate(zip(layers, hidden, strict=False)):
        for unit in range(sizes[depth + 1]):
            low, high = interval.low[unit], interval.high[unit]
            before, own = slice(starts[depth], starts[depth + 1]), starts[depth + 1] + unit
            slope = high / (high - low) if low < 0 < high else float(low >= 0)
            lift = -low * slope if low < 0 < high else 0.0
            at_least, at_most = np.zeros(starts[-1]), np.zeros(starts[-1])
            at_least[before], at_least[own] = layer.weight[unit], -1.0
            at_most[before], at_most[own] = -slope * layer.weight[unit], 1.0
            if high > 0:
                above.append(at_least)
                limits.append(-layer.bias[unit])
            above.append(at_most)
            limits.append(slope * layer.bias[unit] + lift)
    ranges = [(v - eps, v + eps) for v in x] + [(0.0, None)] * (starts[-1] - len(x))
    cost = np.zeros(starts[-1])
    cost[starts[-2] :] = c @ layers[-1].weight
    solved = linprog(cost, A_ub=np.array(above), b_ub=np.array(limits), bounds=ranges, method="highs")
    assert solved.status == 0
    return float(solved.fun + c @ layers[-1].bias)


def convnet(seed: int, width: int) -> nn.Sequential:
    torch.manual_seed(seed)
    flat = nn.Sequential(nn.Conv2d(1, 2, 4, 2, 1), nn.Conv2d(2, 3, 3, 2, 2, 2))(torch.rand(1, 1, 5, width)).numel()
    return nn.Sequential(
        nn.Conv2d(1, 2, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(2, 3, 3, stride=2, padding=2, dilation=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(flat, 5),
        nn.ReLU(),
        nn.Linear(5, 3),
    ).double()


def mlp(seed: int, *widths: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    net = nn.Sequential(*layers[:-1]).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.7)
    return net


def bound(net: nn.Module, x: Tensor, label: int, eps: float, norm: Norm = "linf") -> Array:
    ball = Ball(x, x.new_full((1,), eps), norm)
    with torch.no_grad():
        found: Array = margin_bounds(read(net, x), ball, torch.tensor([label]), 4)[0].numpy()
    return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("eps", [0.02, 0.1, 0.4])
@pytest.mark.parametrize("width", [7, 17])
def test_convolutions_agree_with_explicit_matrices(width: int, eps: float, norm: Norm) -> None:
    net = convnet(width, width)
    x = torch.rand(1, 1, 5, width, dtype=torch.float64)
    layers, flat = as_matrices(net, (1, 5, width)), x.flatten().numpy()
    hidden = paper_intervals(layers, flat, eps, norm)
    assert eps < 0.1 or any(interval.crossing.any() for interval in hidden)
    for label in range(3):
        units = np.eye(3)
        expected = [dual_value(layers, hidden, flat, eps, norm, units[label] - unit) for unit in units]
        np.testing.assert_allclose(bound(net, x, label, eps, norm), expected, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_mlps_agree_with_the_formulas(seed: int) -> None:
    net = mlp(seed, 4, 8, 7, 6, 3)
    x = torch.rand(1, 1, 2, 2, dtype=torch.float64)
    layers, flat, eps = as_matrices(net, (1, 2, 2)), x.flatten().numpy(), 0.1 * (seed + 1)
    hidden = paper_intervals(layers, flat, eps, "linf")
    units = np.eye(3)
    expected = [dual_value(layers, hidden, flat, eps, "linf", units[1] - unit) for unit in units]
    np.testing.assert_allclose(bound(net, x, 1, eps), expected, atol=1e-9)


def test_golden_net_as_a_linear_program() -> None:
    layers = [
        Affine(np.array([[1.0, -1], [1, 1]]), np.array([0, -0.5])),
        Affine(np.array([[1, 0.5], [-1, 1]]), np.array([0.25, 0])),
    ]
    x, c = np.array([0.6, 0.2]), np.array([1.0, -1])
    for eps, dual, program in [(0.1, 0.5, 0.5), (0.3, -0.3083333, -0.05), (0.5, -0.915, -0.27)]:
        hidden = paper_intervals(layers, x, eps, "linf")
        assert dual_value(layers, hidden, x, eps, "linf", c) == pytest.approx(dual, abs=1e-6)
        assert linear_program(layers, hidden, x, eps, c) == pytest.approx(program, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_bound_is_below_the_linear_program_and_that_below_every_sample(seed: int) -> None:
    net = mlp(100 + seed, 4, 6, 6, 3)
    x = torch.rand(1, 1, 2, 2, dtype=torch.float64)
    layers, flat, eps = as_matrices(net, (1, 2, 2)), x.flatten().numpy(), (0.05, 0.15, 0.4)[seed % 3]
    hidden = paper_intervals(layers, flat, eps, "linf")
    points = x + eps * (4 * torch.rand(3000, 1, 2, 2, dtype=torch.float64) - 2).clamp(-1, 1)
    with torch.no_grad():
        logits = net(points).numpy()
    for label in range(3):
        found = bound(net, x, label, eps)
        for other in {0, 1, 2} - {label}:
            program = linear_program(layers, hidden, flat, eps, np.eye(3)[label] - np.eye(3)[other])
            assert found[other] <= program + 1e-9
            assert program <= (logits[:, label] - logits[:, other]).min() + 1e-9

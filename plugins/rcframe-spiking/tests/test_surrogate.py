from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, strategies as st
from rcframe_spiking.surrogate import SURROGATES, Surrogate, SurrogateName, Trigger, bounded
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Callable

#: Smooth steps whose exact derivatives the surrogates claim to be, written apart from the code under test.
SMOOTH: dict[SurrogateName, Callable[[Tensor, float], Tensor]] = {
    "linear": lambda x, c: c * (x.clamp(-1, 1) - x.clamp(-1, 1) * x.clamp(-1, 1).abs() / 2),
    "sigmoid": lambda x, c: 1 / (1 + torch.exp(-c * x)),
    "atan": lambda x, c: torch.arctan(math.pi / 2 * c * x) / math.pi,
    "fast-sigmoid": lambda x, c: x / (1 + c * x.abs()),
    "rectangle": lambda x, c: (c * x).clamp(-0.5, 0.5),
    "piecewise-quadratic": lambda x, c: (
        c * (x.clamp(-1 / c, 1 / c) - c * x.clamp(-1 / c, 1 / c).abs() * x / 2).where(x.abs() < 1 / c, 0.5 * x.sign())
    ),
}
NAMES = list(SURROGATES)


def trigger(name: SurrogateName, inclusive: bool = False) -> Trigger:
    return Trigger(SURROGATES[name], SURROGATES[name].scale, inclusive)


def gradients(fire: Trigger, u: float, th: float) -> tuple[float, float]:
    """The derivatives of one spike with respect to its membrane and its threshold."""
    membrane = torch.tensor([u], dtype=torch.float64, requires_grad=True)
    threshold = torch.tensor(th, dtype=torch.float64, requires_grad=True)
    to_u, to_th = torch.autograd.grad(fire(membrane, threshold).sum(), (membrane, threshold))
    return float(to_u), float(to_th)


def near(to_u: float, to_th: float) -> object:
    return pytest.approx((to_u, to_th))


@pytest.mark.parametrize("name", NAMES)
@given(u=st.floats(-1e4, 1e4, width=32), th=st.floats(2**-9, 100, width=32))
def test_spikes_are_exactly_zero_or_one(name: SurrogateName, u: float, th: float) -> None:
    spike = trigger(name)(torch.tensor([u], requires_grad=True), torch.tensor(th))
    assert spike.tolist() == [1.0 if u > th else 0.0]
    assert spike.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("inclusive", "spike"), [(False, 0.0), (True, 1.0)])
def test_a_membrane_at_the_threshold(name: SurrogateName, inclusive: bool, spike: float) -> None:
    assert trigger(name, inclusive)(torch.tensor([1.0]), torch.tensor(1.0)).item() == spike


@pytest.mark.parametrize(("x", "slope"), [(0.0, 0.3), (0.5, 0.15), (-0.5, 0.15), (1.0, 0.0), (-1.0, 0.0), (2.5, 0.0)])
def test_linear_by_hand(x: float, slope: float) -> None:
    assert gradients(trigger("linear"), 1 + x, 1.0) == near(slope, -slope * (1 + x))


@pytest.mark.parametrize(
    ("name", "peak"),
    [("sigmoid", 1), ("atan", 1), ("fast-sigmoid", 1), ("rectangle", 1), ("piecewise-quadratic", 1), ("linear", 0.3)],
)
def test_peaks_at_the_default_scales(name: SurrogateName, peak: float) -> None:
    assert gradients(trigger(name), 1.0, 1.0) == near(peak, -peak)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stretch", [0.5, 1.0, 2.0])
def test_slopes_are_the_derivatives_of_the_smooth_steps(name: SurrogateName, stretch: float) -> None:
    scale = stretch * SURROGATES[name].scale
    x = torch.tensor([-1.7, -0.61, -0.23, -0.011, 0.007, 0.13, 0.37, 0.83, 1.4], dtype=torch.float64)
    h = 1e-6
    expected = (SMOOTH[name](x + h, scale) - SMOOTH[name](x - h, scale)) / (2 * h)
    assert torch.allclose(SURROGATES[name].slope(x, scale), expected, rtol=1e-5, atol=1e-8)


def test_distance_is_relative_for_linear_only() -> None:
    # u = 3 at th = 2: x = 0.5 relative, x = 1 absolute. d(u/th - 1) = (1/th, -u/th^2), d(u - th) = (1, -1).
    assert gradients(trigger("linear"), 3.0, 2.0) == near(0.15 / 2, -0.15 * 3 / 4)
    atan = 1 / (1 + math.pi**2)
    assert gradients(trigger("atan"), 3.0, 2.0) == near(atan, -atan)
    assert [name for name, surrogate in SURROGATES.items() if surrogate.relative] == ["linear"]


def test_a_gradient_is_scaled_per_neuron() -> None:
    fire = Trigger(Surrogate(lambda x, scale: scale * x, 2.0), 3.0)
    u = torch.tensor([2.0, 5.0], requires_grad=True)
    torch.autograd.backward(fire(u, torch.tensor(1.0)), torch.tensor([10.0, 100.0]))
    assert u.grad is not None
    assert u.grad.tolist() == [10 * 3 * 1, 100 * 3 * 4]


@pytest.mark.parametrize(
    ("value", "gradient", "passed"),
    [
        (0.5, 1.0, 1.0),
        (0.5, -1.0, -1.0),
        (1.0, -1.0, -1.0),
        (0.0, 1.0, 1.0),
        (1.2, -1.0, 0.0),
        (1.2, 1.0, 1.0),
        (-0.2, 1.0, 0.0),
        (-0.2, -1.0, -1.0),
    ],
)
def test_bounds_stop_only_what_leads_further_out(value: float, gradient: float, passed: float) -> None:
    parameter = torch.tensor(value, requires_grad=True)
    inside = bounded(parameter, 0.0, 1.0)
    assert inside.item() == pytest.approx(min(max(value, 0.0), 1.0))
    torch.autograd.backward(inside, torch.tensor(gradient))
    assert parameter.grad is not None
    assert parameter.grad.item() == passed


@pytest.mark.parametrize("make", [lambda p: torch.optim.SGD(p, 0.1), lambda p: torch.optim.Adam(p, 0.1)])
def test_descent_stays_near_the_bound_and_comes_back(
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
) -> None:
    leak = nn.Parameter(torch.tensor(1.0))
    optimizer = make([leak])

    def descend(target: float, steps: int) -> float:
        for _ in range(steps):
            optimizer.zero_grad()
            torch.autograd.backward((bounded(leak, 0.0, 1.0) - target).square())
            optimizer.step()
        return leak.item()

    assert 1.0 <= descend(target=3.0, steps=50) < 2.0
    assert descend(target=0.5, steps=200) == pytest.approx(0.5, abs=0.05)

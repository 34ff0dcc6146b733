"""The dual bound, on cases computed by hand and on what must hold for every network."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise, product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_convex.bounds import Ball, Below, Relaxation, activation_bounds, margin_bounds
from rcframe_convex.network import read
from rcframe_convex.steps import Map, Rectifier
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rcframe.api import Norm

Bounds = tuple[float, float] | None


def margins(
    net: nn.Module, x: Tensor, y: Tensor, eps: float, norm: Norm = "linf", bounds: Bounds = None, channels: int = 99
) -> Tensor:
    return margin_bounds(read(net, x), Ball(x, x.new_full((len(x),), eps), norm, bounds), y, channels)


def hidden_bounds(net: nn.Module, x: Tensor, eps: float, norm: Norm = "linf") -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return, for each ReLU, the bounds of its input and the input at `x` itself."""
    network, ball = read(net, x), Ball(x, x.new_full((len(x),), eps), norm)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    centre, below, clean = x, Below(), x
    for step, shape in zip(network.steps, network.shapes, strict=True):
        if isinstance(step, Rectifier):
            lower, upper = activation_bounds(centre, below, ball, 3)
            found.append((lower, upper, clean))
            linear: Map = Relaxation.between(lower, upper)
        else:
            assert isinstance(step, Map)
            linear = step
        clean, centre = step.forward(clean), linear.forward(centre)
        below.append((linear, shape))
    return found


def golden() -> tuple[nn.Module, Tensor, Tensor]:
    """Return a net of two hidden units whose bounds can be computed on paper, its input and its label."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    state = {
        "1.weight": [[1, -1], [1, 1]],
        "1.bias": [0, -0.5],
        "3.weight": [[1, 0.5], [-1, 1]],
        "3.bias": [0.25, 0],
    }
    net.load_state_dict({name: torch.tensor(value, dtype=torch.float64) for name, value in state.items()})
    return net, torch.tensor([[0.6, 0.2]], dtype=torch.float64).view(1, 2, 1, 1), torch.tensor([0])


def random_mlp(seed: int, *widths: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    net = nn.Sequential(*layers[:-1]).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=1 / math.sqrt(parameter.shape[-1]))
    return net


def random_convnet(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(2, 3, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * 2 * 2, 6),
        nn.ReLU(),
        nn.Linear(6, 3),
    ).double()


def samples(x: Tensor, eps: float, norm: Norm, count: int) -> Tensor:
    """Draw points (count, ...) of the ball around one image (1, ...), most of them on its surface."""
    step = torch.randn(count, *x.shape[1:], dtype=x.dtype)
    if norm == "linf":
        return x + eps * (step * torch.rand(count, 1, 1, 1) * 4).clamp(-1, 1)
    points: Tensor = x + eps * step / torch.linalg.vector_norm(step, dim=(1, 2, 3), keepdim=True)
    return points


def smallest_margins(net: nn.Module, points: Tensor, label: int) -> Tensor:
    """Return the smallest margin (classes,) that the points show."""
    logits: Tensor = net(points)
    return (logits[:, [label]] - logits).amin(dim=0)


@pytest.mark.parametrize(
    ("eps", "lower", "upper", "margin"),
    [
        (0.05, (0.3, 0.2), (0.5, 0.4), 0.70),
        (0.1, (0.2, 0.1), (0.6, 0.5), 0.50),
        (0.2, (0.0, -0.1), (0.8, 0.7), 0.075),
        (0.3, (-0.2, -0.3), (1.0, 0.9), -0.308333333333),
        (0.5, (-0.6, -0.7), (1.4, 1.3), -0.915),
    ],
)
def test_golden_net(eps: float, lower: tuple[float, ...], upper: tuple[float, ...], margin: float) -> None:
    net, x, y = golden()
    ((low, high, clean),) = hidden_bounds(net, x, eps)
    assert low.flatten().tolist() == pytest.approx(lower, abs=1e-12)
    assert high.flatten().tolist() == pytest.approx(upper, abs=1e-12)
    assert clean.flatten().tolist() == pytest.approx((0.4, 0.3), abs=1e-12)
    assert margins(net, x, y, eps).tolist() == [pytest.approx([0, margin], abs=1e-10)]


def test_golden_net_in_l2() -> None:
    # Both hidden units are active, so the net is linear there: W = [[1.5, -0.5], [0, 2]], rows' difference (1.5, -2.5).
    net, x, y = golden()
    ((low, high, _),) = hidden_bounds(net, x, 0.1, "l2")
    assert low.flatten().tolist() == pytest.approx([0.4 - 0.1 * math.sqrt(2), 0.3 - 0.1 * math.sqrt(2)])
    assert high.flatten().tolist() == pytest.approx([0.4 + 0.1 * math.sqrt(2), 0.3 + 0.1 * math.sqrt(2)])
    assert margins(net, x, y, 0.1, "l2")[0, 1].item() == pytest.approx(0.9 - 0.1 * math.hypot(1.5, -2.5))


def test_relaxation_of_every_kind_of_unit() -> None:
    lower = torch.tensor([-3.0, -1.0, 0.0, 1.0, 0.0, -1e-20], dtype=torch.float64).view(1, 6, 1, 1)
    upper = torch.tensor([-1.0, 3.0, 2.0, 2.0, 0.0, 1e-20], dtype=torch.float64).view(1, 6, 1, 1)
    relaxed = Relaxation.between(lower, upper)
    assert relaxed.slope.flatten().tolist() == [0, 0.75, 1, 1, 1, 1]
    assert relaxed.gap.flatten().tolist() == [0, 1, 0, 0, 0, 1e-20]


def test_relaxation_without_room_has_finite_gradients() -> None:
    lower = torch.tensor([[[[-1e-30]], [[-1e-13]], [[0.0]], [[-1.0]]]], requires_grad=True)
    upper = torch.tensor([[[[1e-30]], [[1e-13]], [[0.0]], [[-0.0]]]], requires_grad=True)
    relaxed = Relaxation.between(lower, upper)
    gradients = torch.autograd.grad(relaxed.slope.sum() + relaxed.gap.sum(), [lower, upper])
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)


@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_linear_network_is_exact_and_the_bound_is_reached(norm: Norm, dual: int) -> None:
    net = random_mlp(0, 12, 4)
    x, y, eps = torch.rand(3, 3, 2, 2, dtype=torch.float64), torch.tensor([0, 2, 3]), 0.07
    weight = net[1].weight
    assert isinstance(weight, Tensor)
    logits = net(x)
    for example, label in enumerate(y.tolist()):
        gaps = weight[label] - weight
        exact = logits[example, label] - logits[example] - eps * gaps.norm(dual, dim=1)
        torch.testing.assert_close(margins(net, x, y, eps, norm)[example], exact)
        for other in {0, 1, 2, 3} - {label}:
            step = gaps[other].sign() if norm == "linf" else gaps[other] / gaps[other].norm()
            reached = net(x[[example]] - eps * step.view(1, 3, 2, 2))[0]
            torch.testing.assert_close(reached[label] - reached[other], exact[other])


def test_linear_network_in_the_pixel_range_is_exact() -> None:
    net = random_mlp(1, 4, 3)
    x, y, eps = torch.tensor([[0.0, 0.05, 0.5, 0.97]], dtype=torch.float64).view(1, 1, 2, 2), torch.tensor([1]), 0.1
    ends = [(max(v - eps, 0.0), min(v + eps, 1.0)) for v in x.flatten().tolist()]
    corners = torch.tensor(list(product(*ends)), dtype=torch.float64).view(-1, 1, 2, 2)
    torch.testing.assert_close(
        margins(net, x, y, eps, bounds=(0.0, 1.0))[0], smallest_margins(net, corners, 1), atol=1e-12, rtol=0
    )


def test_l2_ball_in_the_pixel_range_uses_the_smaller_of_ball_and_box() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False)).double()
    x, y = torch.tensor([[0.0, 0.5]], dtype=torch.float64).view(1, 1, 1, 2), torch.tensor([0])
    for weight, whole, inside in [
        ([[1.0, 0.0], [0.0, 0.0]], -0.1, 0.0),  # the pixel cannot fall below 0
        ([[-1.0, 0.0], [0.0, 0.0]], -0.1, -0.1),  # it can rise
        ([[0.0, 3.0], [0.0, -1.0]], 2.0 - 0.4, 2.0 - 0.4),  # the other one is free
        ([[0.3, 0.4], [0.0, 0.0]], 0.2 - 0.05, 0.2 - 0.04),  # the box leaves only the second: 0.4 * 0.1
    ]:
        net[1].weight.data = torch.tensor(weight, dtype=torch.float64)
        assert margins(net, x, y, 0.1, "l2")[0, 1].item() == pytest.approx(whole)
        assert margins(net, x, y, 0.1, "l2", (0.0, 1.0))[0, 1].item() == pytest.approx(inside)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("bounds", [None, (0.0, 1.0)])
def test_radius_zero_gives_the_logits_themselves(norm: Norm, bounds: Bounds) -> None:
    net = random_convnet(3)
    x, y = torch.rand(2, 2, 8, 9, dtype=torch.float64), torch.tensor([0, 2])
    logits = net.eval()(x)
    expected = logits.gather(1, y[:, None]) - logits
    torch.testing.assert_close(margins(net, x, y, 0.0, norm, bounds), expected, atol=1e-12, rtol=0)
    for low, high, clean in hidden_bounds(net, x, 0.0, norm):
        torch.testing.assert_close(low, clean, atol=1e-12, rtol=0)
        torch.testing.assert_close(high, clean, atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    eps=st.sampled_from([0.01, 0.05, 0.2, 0.6]),
    norm=st.sampled_from(["linf", "l2"]),
    build=st.sampled_from([lambda seed: random_mlp(seed, 32, 9, 9, 9, 4), random_convnet]),
)
def test_no_sample_breaks_a_bound(seed: int, eps: float, norm: Norm, build: Callable[[int], nn.Sequential]) -> None:
    net = build(seed).eval()
    x = torch.rand(1, 2, 4, 4, dtype=torch.float64) if build is not random_convnet else torch.rand(1, 2, 8, 9).double()
    points = samples(x, eps, norm, 400)
    layer_bounds = hidden_bounds(net, x, eps, norm)
    reached = points
    seen = iter(layer_bounds)
    for layer in net:
        if isinstance(layer, nn.ReLU):
            low, high, _ = next(seen)
            flat = reached.reshape(len(points), *low.shape[1:])
            assert bool((flat >= low - 1e-9).all())
            assert bool((flat <= high + 1e-9).all())
        reached = layer(reached)
    for label in range(reached.shape[1]):
        bound = margins(net, x, torch.tensor([label]), eps, norm)[0]
        assert bound[label] == 0
        assert bool((bound <= smallest_margins(net, points, label) + 1e-9).all())


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_pixel_range_makes_certificates_larger_and_stays_sound(norm: Norm) -> None:
    net = random_convnet(5).eval()
    x, y = torch.rand(6, 2, 8, 9, dtype=torch.float64).round(decimals=1), torch.tensor([0, 1, 2, 0, 1, 2])
    eps = 0.15 if norm == "linf" else 0.8
    whole, inside = margins(net, x, y, eps, norm), margins(net, x, y, eps, norm, (0.0, 1.0))
    gain = (inside - whole).mean().item()
    assert gain > 0 if norm == "linf" else gain >= 0
    for example, label in enumerate(y.tolist()):
        points = samples(x[[example]], eps, norm, 2000).clamp(0, 1)
        assert bool((inside[example] <= smallest_margins(net, points, label) + 1e-9).all())


def test_margins_fall_with_the_radius() -> None:
    rises = torch.zeros((), dtype=torch.float64)
    for seed in range(10):
        net = random_mlp(seed, 4, 6, 6, 3)
        x, y = torch.rand(4, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
        steps = torch.stack([margins(net, x, y, eps) for eps in torch.linspace(0, 0.5, 26).tolist()])
        # With fixed slopes, small rises are possible; the trend is not in doubt.
        rises = torch.maximum(rises, (steps[1:] - steps[:-1]).amax())
        assert bool((steps[-1] <= steps[0]).all())
    assert rises < 0.02


def test_channels_at_a_time_do_not_matter() -> None:
    net = random_convnet(7)
    x, y = torch.rand(2, 2, 8, 9, dtype=torch.float64), torch.tensor([1, 0])
    torch.testing.assert_close(margins(net, x, y, 0.1, channels=1), margins(net, x, y, 0.1))


def test_examples_do_not_influence_each_other() -> None:
    net = random_convnet(8)
    x, y = torch.rand(3, 2, 8, 9, dtype=torch.float64), torch.tensor([1, 0, 2])
    together = margins(net, x, y, 0.1)
    alone = torch.cat([margins(net, x[[i]], y[[i]], 0.1) for i in range(3)])
    torch.testing.assert_close(together, alone)
    torch.testing.assert_close(margins(net, x.flip(0), y.flip(0), 0.1), together.flip(0))


def test_batch_norm_equals_the_folded_convolution() -> None:
    torch.manual_seed(0)
    conv, norm, tail = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), [nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)]
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(norm.weight, -1, 1)
    net = nn.Sequential(conv, norm, *tail).double()
    folded = nn.Sequential(fuse_conv_bn_eval(conv.eval(), norm.eval()), *tail)
    x, y = torch.rand(4, 1, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(margins(net.train(), x, y, 0.05), margins(folded, x, y, 0.05))


def test_relu_at_the_end_is_relaxed_too() -> None:
    net = nn.Sequential(*random_mlp(4, 8, 6, 3), nn.ReLU()).double()
    x = torch.rand(1, 2, 2, 2, dtype=torch.float64)
    points = samples(x, 0.3, "linf", 2000)
    for label in range(3):
        bound = margins(net, x, torch.tensor([label]), 0.3)[0]
        assert bool((bound <= smallest_margins(net, points, label) + 1e-9).all())


def test_relu_on_the_images_themselves_is_relaxed_too() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(2, 2, bias=False)).double()
    net[2].weight.data = torch.tensor([[1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    x = torch.tensor([[0.1, 0.5]], dtype=torch.float64).view(1, 1, 1, 2)
    # [-0.1, 0.3] is relaxed with slope 3/4 and lower line 3/4 z, least at -0.075; [0.3, 0.7] is active.
    assert margins(net, x, torch.tensor([0]), 0.2)[0, 1].item() == pytest.approx(-0.075 + 0.3)


def robust_loss(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    return F.cross_entropy(-margins(net, x, y, eps), y)


def test_robust_loss_bounds_the_loss() -> None:
    net = random_mlp(2, 4, 5, 5, 3)
    x, y = torch.rand(4, 1, 2, 2, dtype=torch.float64), torch.tensor([0, 1, 2, 0])
    assert robust_loss(net, x, y, 0.0).item() == pytest.approx(F.cross_entropy(net(x), y).item())
    for eps in (0.05, 0.2):
        worst = max(F.cross_entropy(net(x + eps * torch.rand_like(x).sub(0.5).sign()), y).item() for _ in range(50))
        assert robust_loss(net, x, y, eps).item() >= worst


@pytest.mark.parametrize("build", [lambda: random_mlp(2, 16, 5, 5, 3), lambda: small_convnet(6)], ids=["mlp", "conv"])
def test_gradients_match_finite_differences(build: Callable[[], nn.Sequential]) -> None:
    net = build().eval()
    x, y = torch.rand(2, 1, 4, 4, dtype=torch.float64), torch.tensor([0, 2])
    gradients = torch.autograd.grad(robust_loss(net, x, y, 0.1), list(net.parameters()))
    crossing = [bool(((low < 0) & (high > 0)).any()) for low, high, _ in hidden_bounds(net, x, 0.1)]
    assert any(crossing), "without a relaxed unit this would test too little"
    for parameter, whole in zip(net.parameters(), gradients, strict=True):
        flat, gradient = parameter.data.view(-1), whole.reshape(-1)
        for index in range(0, len(flat), max(1, len(flat) // 7)):
            numbers = []
            for change in (1e-6, -1e-6):
                flat[index] += change
                numbers.append(robust_loss(net, x, y, 0.1).item())
                flat[index] -= change
            assert gradient[index].item() == pytest.approx((numbers[0] - numbers[1]) / 2e-6, abs=1e-7, rel=1e-5)


def small_convnet(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Conv2d(2, 3, 2, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(12, 3),
    ).double()


def test_single_precision_is_close() -> None:
    net = random_convnet(9).eval()
    x, y = torch.rand(8, 2, 8, 9), torch.arange(8) % 3
    exact = margins(net, x.double(), y, 0.1)
    rounded = margins(net.float(), x, y, 0.1)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, atol=1e-5, rtol=1e-5)

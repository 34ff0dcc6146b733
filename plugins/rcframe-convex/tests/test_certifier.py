"""The component `convex`: its options, its blocks, and what a user sees of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from rcframe_convex.blocks import Block
from rcframe_convex.certifier import Convex, network_of
from torch import Tensor, nn

from rcframe.api import Norm
from rcframe.errors import RequestError
from rcframe.evaluation.evaluate import certified
from rcframe.evaluation.threat import Threat
from rcframe.options import build, options_of


def convnet() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 4, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)
    )


def blobs(count: int) -> tuple[Tensor, Tensor]:
    """Draw noisy 6x6 images of three classes: a bright left, middle or right third."""
    torch.manual_seed(1)
    y = torch.arange(count) % 3
    x = 0.35 + 0.12 * torch.randn(count, 1, 6, 6)
    for label in range(3):
        x[y == label, :, :, 2 * label : 2 * label + 2] += 0.15
    return x.clamp(0, 1), y


def train(net: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int) -> None:
    """Train with the robust loss at `eps`, or plainly at 0."""
    optimiser = torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(steps):
        now = Threat(eps * min(1.0, 2 * step / steps))
        logits = -Convex().margins(net, x, y, now) if eps else net(x)
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(logits, y))
        optimiser.step()


def attacked(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Return which images (B,) withstand twenty steps along the sign of the gradient."""
    moved = x.clone()
    right: Tensor = net(x).argmax(dim=1) == y
    for _ in range(20):
        moved.requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(net(moved), y, reduction="sum"), moved)
        moved = torch.minimum(torch.maximum(moved.detach() + eps / 4 * gradient.sign(), x - eps), x + eps)
        right &= net(moved).argmax(dim=1) == y
    return right


def test_options() -> None:
    assert {option.name: option.default for option in options_of(Convex)} == {"bounded": False, "memory": 32}
    assert build(Convex, {"bounded": "yes", "memory": "4"}, "convex") == Convex(bounded=True, memory=4)
    with pytest.raises(RequestError, match="`memory`"):
        build(Convex, {"memory": 0}, "convex")
    assert Convex.differentiable
    assert Convex.norms == ("linf", "l2")


def test_certified_is_at_most_attacked_is_at_most_clean() -> None:
    x, y = blobs(90)
    net = convnet()
    train(net, x, y, 0.0, 40)
    clean = net(x).argmax(dim=1) == y
    assert clean.float().mean() > 0.9
    counts = []
    for eps in (0.0, 0.01, 0.03, 0.06):
        proved = certified(Convex()(net, x, y, eps=eps), y)
        survived = attacked(net, x, y, eps)
        assert bool((proved <= survived).all())
        assert bool((survived <= clean).all())
        counts.append(int(proved.sum()))
    assert counts[0] == int(clean.sum())
    assert counts == sorted(counts, reverse=True)
    assert 0 < counts[2] < counts[0]


def test_training_on_the_margins_proves_more() -> None:
    x, y = blobs(60)
    plain, robust = convnet(), convnet()
    train(plain, x, y, 0.0, 80)
    train(robust, x, y, 0.08, 80)
    proved = [int(certified(Convex()(net, x, y, eps=0.08), y).sum()) for net in (plain, robust)]
    assert proved[1] > 2 * proved[0]


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("bounded", [False, True])
def test_blocks_change_neither_margins_nor_gradients(
    norm: Norm, bounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = blobs(7)
    net = convnet()

    def both() -> tuple[Tensor, list[Tensor]]:
        margins = Convex(bounded=bounded).margins(net, x, y, Threat(0.05, norm))
        return margins, list(torch.autograd.grad(margins.square().sum(), list(net.parameters())))

    margins, gradients = both()
    monkeypatch.setattr("rcframe_convex.certifier._MEGABYTE", 2**10)
    block = Block.within(network_of(net, x), Convex().memory * 2**10 // 4)
    assert 1 < block.examples < 7
    again, same = both()
    torch.testing.assert_close(again, margins)
    torch.testing.assert_close(same, gradients, rtol=1e-4, atol=1e-5)


def test_pixel_range_is_an_option() -> None:
    x, y = blobs(9)
    net = convnet()
    whole, inside = (Convex(bounded=bounded)(net, x.round(), y, eps=0.1) for bounded in (False, True))
    assert float((inside - whole).detach().mean()) > 0


def test_own_column_is_exactly_zero() -> None:
    x, y = blobs(6)
    margins = Convex()(convnet(), x, y, eps=0.1)
    assert margins.shape == (6, 3)
    assert torch.equal(margins[torch.arange(6), y], torch.zeros(6))


def test_no_images_give_no_margins() -> None:
    x, y = blobs(3)
    assert Convex()(convnet(), x[:0], y[:0], eps=0.1).shape == (0, 3)


def test_call_leaves_the_model_as_it_was() -> None:
    x, y = blobs(4)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(), nn.Flatten(), nn.Linear(32, 3)).train()
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    torch.autograd.backward(Convex()(net, x, y, eps=0.1).sum())
    assert [part.training for part in net] == [True, True, False, True, True]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is not None for parameter in net[4].parameters())


def test_unsupported_layer_is_named_before_and_at_the_call() -> None:
    x, y = blobs(2)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    reason = Convex().unsupported(net)
    assert reason is not None
    assert reason.startswith("layer `1` (MaxPool2d) is not linear, conv")
    assert Convex().unsupported(convnet()) is None
    with pytest.raises(RequestError, match=r"`convex` cannot certify this network: layer `1` \(MaxPool2d\)"):
        Convex().margins(net, x, y, Threat(0.1))
    with pytest.raises(RequestError, match="cannot certify this model: layer `1`"):
        Convex()(net, x, y, eps=0.1)


def test_uneven_pooling_is_known_only_with_the_images() -> None:
    x, y = blobs(2)
    net = nn.Sequential(nn.Conv2d(1, 2, 2), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, 3))
    assert Convex().unsupported(net) is None
    with pytest.raises(RequestError, match="5x5 to 2x2"):
        Convex().margins(net, x, y, Threat(0.1))


def test_announcing_the_plugin_imports_no_torch() -> None:
    code = (
        "import sys, rcframe_convex; specs = rcframe_convex.rcframe_components(); "
        "assert 'torch' not in sys.modules; print([(spec.kind, spec.name, spec.target) for spec in specs])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[('certifier', 'convex', 'rcframe_convex.certifier:Convex')]"

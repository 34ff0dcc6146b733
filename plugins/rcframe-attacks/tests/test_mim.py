from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_attacks.bim import BIM
from rcframe_attacks.mim import MIM
from torch import Tensor, nn

from rcframe import Norm

Labelled = tuple[Tensor, Tensor]


def by_hand(net: nn.Module, x: Tensor, y: Tensor, eps: float, norm: Norm, mu: float, steps: int) -> Tensor:
    """Dong et al., algorithm 1, with cross-entropy and image by image."""
    results = []
    for i in range(len(x)):
        image, label = x[i : i + 1], y[i : i + 1]
        moved, total = image, torch.zeros_like(image)
        for _ in range(steps):
            moved = moved.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(net(moved), label), moved)
            total = mu * total + gradient / gradient.abs().sum()
            unit = total.sign() if norm == "linf" else total / total.norm()
            offset = moved.detach() + eps / steps * unit - image
            offset = offset.clamp(-eps, eps) if norm == "linf" else offset * (eps / offset.norm()).clamp_max(1)
            moved = (image + offset).clamp(0, 1)
        results.append(moved)
    return torch.cat(results)


@given(st.integers(0, 1000), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from(["linf", "l2"]))
@settings(max_examples=25, deadline=None)
def test_images_are_those_of_the_algorithm_in_the_paper(seed: int, mu: float, norm: Norm) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 3)).double()
    x, y = torch.rand(5, 1, 3, 3, dtype=torch.float64), torch.arange(5) % 3
    found = MIM(steps=6, mu=mu, early_stop=False)(net, x, y, eps=0.2, norm=norm)
    assert torch.allclose(found, by_hand(net, x, y, 0.2, norm, mu, 6), atol=1e-8)


def test_without_momentum_it_is_bim(network: nn.Module, images: Labelled) -> None:
    assert torch.equal(MIM(mu=0)(network, *images, eps=0.1), BIM()(network, *images, eps=0.1))
    assert not torch.equal(MIM(mu=1)(network, *images, eps=0.1), BIM()(network, *images, eps=0.1))


class Plateau(nn.Module):
    """A network that is flat where the pixel is below a half."""

    def forward(self, x: Tensor) -> Tensor:
        rise = (x.flatten(1)[:, :1] - 0.5).relu()
        return torch.cat([1 - rise, rise - 1], 1)


def test_a_gradient_of_zero_moves_nothing_and_breaks_nothing() -> None:
    x, y = torch.tensor([0.2, 0.7]).view(2, 1, 1, 1), torch.zeros(2, dtype=torch.long)
    found = MIM(steps=4)(Plateau(), x, y, eps=0.1)
    assert torch.allclose(found.flatten(), torch.tensor([0.2, 0.8]))


def test_a_slope_that_is_tiny_still_counts() -> None:
    class Faint(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 1e-20 * torch.cat([1 - x.flatten(1), x.flatten(1)], 1)

    x, y = torch.full((1, 1, 1, 1), 0.2), torch.zeros(1, dtype=torch.long)
    assert float(MIM(steps=4)(Faint(), x, y, eps=0.1)) > 0.29

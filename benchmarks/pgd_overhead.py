"""The attack `pgd` through the library, against the same loop written by hand.

python benchmarks/pgd_overhead.py
"""

from __future__ import annotations

import sys
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from side_by_side import HEADER, compare
from torch import Tensor, nn

import rcframe as rc
from rcframe.api import Model
from rcframe.data.images import DataInfo
from rcframe.registry import registry

STEPS = 20
EPS = 8 / 255


def by_hand(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Madry's attack as one writes it in a script."""
    model.eval()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    step = 2.5 * EPS / STEPS
    x_adv = (x + torch.empty_like(x).uniform_(-EPS, EPS)).clamp(0, 1)
    for _ in range(STEPS):
        x_adv = x_adv.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(x_adv), y, reduction="sum"), x_adv)
        moved = x_adv.detach() + step * gradient.sign()
        x_adv = torch.minimum(torch.maximum(moved, x - EPS), x + EPS).clamp(0, 1)
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return x_adv


def main(runs: int = 11) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    attack = rc.attack("pgd", steps=STEPS).thorough()
    print(HEADER)
    for name, shape, model, batch in [
        ("digits-sized, convnet, 256 images", (1, 8, 8), "convnet", 256),
        ("32x32 colour, cnn, 64 images", (3, 32, 32), "cnn", 64),
        ("32x32 colour, resnet18 at a quarter width, 16 images", (3, 32, 32), "resnet18:width=0.25", 16),
    ]:
        mean, std = (0.5,) * shape[0], (0.25,) * shape[0]
        info = DataInfo("noise", shape, tuple("0123456789"), mean, std)
        torch.manual_seed(0)
        network = cast(Model, registry().make("model", model)).build(info).eval()
        x, y = torch.rand(batch, *shape), torch.randint(10, (batch,))
        ratio = compare(
            f"pgd, {name}",
            partial(attack, network, x, y, eps=EPS),
            partial(by_hand, network, x, y),
            runs,
        )
        print(ratio.row(1.05), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

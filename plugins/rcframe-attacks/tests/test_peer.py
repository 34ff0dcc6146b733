"""Side by side with an independent implementation, where it is installed; `benchmarks/agreement.py` asks another."""

from __future__ import annotations

from typing import Protocol

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe import Norm

foolbox = pytest.importorskip("foolbox")

EPS = 0.15
OURS = "steps=20,step_size=0.02"
THEIRS = {"steps": 20, "abs_stepsize": 0.02, "random_start": False}


class PeerAttack(Protocol):
    """An attack of the other library: it returns raw images, clipped ones, and which of them succeed."""

    def __call__(
        self, model: object, inputs: Tensor, criterion: Tensor, *, epsilons: float
    ) -> tuple[Tensor, Tensor, Tensor]: ...


class Residual(nn.Module):
    """A block whose input is added to its output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = x + self.second(self.norm(self.first(x)).relu())
        return total.relu()


def network(name: str) -> nn.Module:
    """Return a network in float64, where rounding does not decide the sign of a gradient."""
    torch.manual_seed(0)
    if name == "mlp":
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 3))
    elif name == "convnet":
        net = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3))
    else:
        net = nn.Sequential(nn.Conv2d(1, 4, 3), Residual(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    return net.double().eval()


@pytest.mark.parametrize("name", ["mlp", "convnet", "resnet"])
@pytest.mark.parametrize(
    ("ours", "theirs", "norm"),
    [
        ("fgsm", foolbox.attacks.LinfFastGradientAttack(), "linf"),
        ("fgm", foolbox.attacks.L2FastGradientAttack(), "l2"),
        (f"bim:{OURS}", foolbox.attacks.LinfBasicIterativeAttack(**THEIRS), "linf"),
        (f"bim:{OURS}", foolbox.attacks.L2BasicIterativeAttack(**THEIRS), "l2"),
        (f"pgd:{OURS},random_start=false", foolbox.attacks.LinfPGD(**THEIRS), "linf"),
        (f"pgd:{OURS},random_start=false", foolbox.attacks.L2PGD(**THEIRS), "l2"),
        # Without momentum; with it, foolbox adds signs, and in l2 unit vectors, instead of gradients of one l1 size.
        (f"mim:{OURS},mu=0", foolbox.attacks.LinfMomentumIterativeFastGradientMethod(momentum=0, **THEIRS), "linf"),
        (f"mim:{OURS},mu=0", foolbox.attacks.L2MomentumIterativeFastGradientMethod(momentum=0, **THEIRS), "l2"),
    ],
)
def test_images_equal_those_of_foolbox(ours: str, theirs: PeerAttack, norm: Norm, name: str) -> None:
    net = network(name)
    x = torch.rand(16, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(16) % 3
    _, expected, _ = theirs(foolbox.PyTorchModel(net, bounds=(0, 1)), x, y, epsilons=EPS)
    assert float((rc.attack(ours).thorough()(net, x, y, eps=EPS, norm=norm) - expected).abs().max()) <= 1e-6

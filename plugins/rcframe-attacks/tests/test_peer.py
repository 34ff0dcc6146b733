"""Side by side with an independent implementation, where it is installed."""

from __future__ import annotations

import pytest
import torch
from rcframe_attacks.fgsm import FGSM
from rcframe_attacks.pgd import PGD
from torch import nn

from rcframe import Attack
from rcframe.api import Norm

foolbox = pytest.importorskip("foolbox")

EPS = 0.15
OURS = PGD(steps=20, step_size=0.02, random_start=False)
THEIRS = {"steps": 20, "abs_stepsize": 0.02}


@pytest.mark.parametrize(
    ("ours", "theirs", "norm", "options"),
    [
        (FGSM(), "LinfFastGradientAttack", "linf", {}),
        (OURS, "LinfPGD", "linf", THEIRS),
        (OURS, "L2PGD", "l2", THEIRS),
    ],
)
def test_results_equal_those_of_foolbox(
    ours: Attack, theirs: str, norm: Norm, options: dict[str, float], smooth: nn.Module
) -> None:
    x = torch.rand(16, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(16) % 3
    peer = getattr(foolbox.attacks, theirs)(random_start=False, **options)
    _, expected, _ = peer(foolbox.PyTorchModel(smooth.eval(), bounds=(0, 1)), x, y, epsilons=EPS)
    assert float((ours(smooth, x, y, eps=EPS, norm=norm) - expected).abs().max()) <= 1e-6

"""Side by side with an independent implementation, where it is installed."""

from __future__ import annotations

import pytest
import torch
from rcframe_minimal.cw import CW
from rcframe_minimal.deepfool import DeepFool
from torch import Tensor, nn

from rcframe import ModelOracle, Norm, Threat
from rcframe.evaluation.evaluate import predict

foolbox = pytest.importorskip("foolbox")

Labelled = tuple[Tensor, Tensor]


def theirs(name: str, net: nn.Module, x: Tensor, y: Tensor, **options: float | bool) -> Tensor:
    """Return the images (B, C, H, W) that foolbox finds."""
    peer = getattr(foolbox.attacks, name)(**options)
    found: Tensor = peer(foolbox.PyTorchModel(net, bounds=(0, 1)), x, y, epsilons=None)[0]
    return found


@pytest.mark.parametrize(("norm", "name"), [("l2", "L2DeepFoolAttack"), ("linf", "LinfDeepFoolAttack")])
@pytest.mark.parametrize("candidates", [2, 10])
def test_deepfool_finds_foolboxs_images(norm: Norm, name: str, candidates: int, smooth: nn.Module) -> None:
    x = torch.rand(24, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = predict(smooth, x)
    ours = DeepFool(candidates=candidates).craft(ModelOracle(smooth, DeepFool.access), x, y, Threat(1, norm))
    expected = theirs(name, smooth, x, y, candidates=candidates)
    assert float((ours - expected).abs().max()) <= 1e-6


@pytest.mark.parametrize("kappa", [0.0, 0.05])
def test_cw_finds_foolboxs_images_when_nothing_is_left_early(kappa: float, smooth: nn.Module) -> None:
    x = torch.rand(8, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = predict(smooth, x)
    attack = CW(steps=60, searches=5, lr=0.05, initial_c=0.001, kappa=kappa, abort_early=False)
    ours = attack.craft(ModelOracle(smooth, CW.access), x, y, Threat(1, "l2"))
    options = {"steps": 60, "binary_search_steps": 5, "stepsize": 0.05, "confidence": kappa, "abort_early": False}
    expected = theirs("L2CarliniWagnerAttack", smooth, x, y, **options)
    # foolbox keeps c in float32.
    assert float((ours - expected).abs().max()) <= 1e-4


def test_the_defaults_of_cw_come_near_the_distances_of_many_steps(network: nn.Module, images: Labelled) -> None:
    x, y = images
    many = theirs("L2CarliniWagnerAttack", network, x, y, steps=200, stepsize=0.05, binary_search_steps=7)
    ours = CW().craft(ModelOracle(network, CW.access), x, y, Threat(1, "l2"))
    medians = [float((found - x).flatten(1).norm(dim=1).median()) for found in (ours, many)]
    assert medians[0] <= 1.03 * medians[1]

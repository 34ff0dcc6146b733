from __future__ import annotations

import pytest
import torch
from rcframe_attacks.fgsm import FGM, FGSM
from torch import Tensor, nn

import rcframe as rc
from rcframe import RequestError


def test_the_step_is_the_one_computed_by_hand() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    weight = torch.tensor([[1.0, -1.0, 2.0, 0.0], [0.0, 0.0, 3.0, 0.0]])
    with torch.no_grad():
        net.get_parameter("1.weight").copy_(weight)
    x = torch.tensor([0.5, 0.5, 0.95, 0.5]).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    # Confusion of class 0 is z_1 - z_0, which falls with pixel 0 and rises with 1 and 2; pixel 3 has no gradient.
    found = rc.attack("fgsm")(net, x, torch.tensor([0, 1]), eps=0.1).flatten(1)
    assert torch.allclose(found, torch.tensor([[0.4, 0.6, 1.0, 0.5], [0.6, 0.4, 0.85, 0.5]]), atol=1e-6)


def test_the_step_in_l2_is_the_one_computed_by_hand() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        net.get_parameter("1.weight").copy_(torch.tensor([[0.0, 0.0, 0.0, 0.0], [3.0, -4.0, 0.0, 0.0]]))
    x = torch.full((2, 1, 2, 2), 0.5)
    found = rc.attack("fgm")(net, x, torch.tensor([0, 1]), eps=0.2, norm="l2").flatten(1)
    assert torch.allclose(found, torch.tensor([[0.62, 0.34, 0.5, 0.5], [0.38, 0.66, 0.5, 0.5]]), atol=1e-6)


def test_a_single_step_knows_no_more_effort() -> None:
    for attack in (FGSM(), FGM()):
        assert not attack.iterated
        assert attack.stronger() is None
        assert attack.thorough() is attack


def test_each_form_has_its_norm(network: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(RequestError, match="works in linf, not in l2"):
        FGSM()(network, *images, eps=0.5, norm="l2")
    with pytest.raises(RequestError, match="works in l2, not in linf"):
        FGM()(network, *images, eps=0.5)

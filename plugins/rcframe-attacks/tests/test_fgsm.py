from __future__ import annotations

import pytest
import torch
from rcframe_attacks.fgsm import FGSM
from rcframe_attacks.pgd import PGD
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


@pytest.mark.parametrize("eps", [0.01, 0.1, 0.5])
def test_one_whole_step_of_pgd_without_random_start_is_fgsm(
    eps: float, network: nn.Module, images: tuple[Tensor, Tensor]
) -> None:
    one_step = PGD(steps=1, step_size=eps, random_start=False)
    assert torch.equal(one_step(network, *images, eps=eps), FGSM()(network, *images, eps=eps))


def test_only_linf_is_offered(network: nn.Module, images: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(RequestError, match="works in linf, not in l2"):
        FGSM()(network, *images, eps=0.5, norm="l2")

from __future__ import annotations

import pytest
import torch
from rcframe_attacks.bim import BIM
from rcframe_attacks.fgsm import FGM, FGSM
from rcframe_attacks.mim import MIM
from rcframe_attacks.pgd import PGD
from torch import Tensor, nn

from rcframe import Attack

Labelled = tuple[Tensor, Tensor]


@pytest.mark.parametrize("attack", [BIM(steps=1), MIM(steps=1), PGD(steps=1, rel_step_size=1, random_start=False)])
@pytest.mark.parametrize("eps", [0.01, 0.1, 0.5])
def test_one_step_of_any_attack_is_fgsm_and_in_l2_fgm(
    attack: Attack, eps: float, network: nn.Module, images: Labelled
) -> None:
    # Images that are wrong from the start are left alone by an attack that stops early.
    one = attack.thorough()
    assert torch.equal(one(network, *images, eps=eps), FGSM()(network, *images, eps=eps))
    expected = FGM()(network, *images, eps=eps, norm="l2")
    assert torch.allclose(one(network, *images, eps=eps, norm="l2"), expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_is_pgd_from_the_image_itself(norm: str, network: nn.Module, images: Labelled) -> None:
    ours = BIM(steps=6, step_size=0.02)
    same = PGD(steps=6, step_size=0.02, random_start=False)
    for a, b in [(ours, same), (ours.thorough(), same.thorough())]:
        assert torch.equal(a(network, *images, eps=0.1), b(network, *images, eps=0.1))


def test_steps_go_to_and_fro_as_computed_by_hand() -> None:
    net = Parabola()
    x, y = torch.full((1, 1, 1, 1), 0.5), torch.zeros(1, dtype=torch.long)
    # The loss is highest at 0.55, so the third step of 0.02 overshoots and the fourth returns.
    for steps, expected in [(1, 0.52), (2, 0.54), (3, 0.56), (4, 0.54)]:
        found = BIM(steps=steps, step_size=0.02)(net, x, y, eps=0.1)
        assert float(found) == pytest.approx(expected, abs=1e-6)
    assert float(BIM(steps=9, step_size=0.02)(net, x, y, eps=0.03)) == pytest.approx(0.53, abs=1e-6)


class Parabola(nn.Module):
    """Class 0 is always on top, least so where the pixel is 0.55."""

    def forward(self, x: Tensor) -> Tensor:
        height = (x.flatten(1) - 0.55) ** 2
        return torch.cat([height + 1, -height], 1)

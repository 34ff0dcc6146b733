"""False alarms on networks as people train them, under an attack as people run it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import rcframe as rc
from rcframe.api import Model, Norm
from rcframe.choice import parse_choice
from rcframe.data.digits import Digits
from rcframe.data.images import Dataset
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.flags import trust_flags
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.controls import Climb
from rcframe.evaluation.trust.examine import examine
from rcframe.evaluation.trust.suspect import Suspect
from rcframe.registry import registry
from tests.evaluation.trust.suspects import suspect

TRAINED_AT = Threat(0.1)
PGD = "pgd:steps=40,restarts=2"


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return Digits().load(Path())


def trained(digits: Dataset, seed: int, attacked: bool) -> nn.Module:
    """A network after 12 epochs on the digits, or on what five gradient steps make of them."""
    torch.manual_seed(seed)
    choice = parse_choice("convnet:channels=8+8+16,hidden=32", "model")
    network = cast(Model, registry().make("model", choice)).build(digits.info)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(12):
        for index in torch.randperm(len(digits.train)).split(64):  # type: ignore[no-untyped-call]
            batch = digits.train.fetch(index)
            x, y = batch.images, batch.labels
            if attacked:
                x = attack_batch(Climb(steps=5).thorough(), network, x, y, TRAINED_AT)
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(network(x), y))
            optimizer.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_plain_and_adversarially_trained_networks_raise_no_flag(digits: Dataset, seed: int) -> None:
    plain, hardened = (trained(digits, seed, attacked) for attacked in (False, True))
    threats: list[tuple[Norm, float]] = [("linf", 0.03), ("linf", 0.1), ("l2", 0.5)]
    for module, other in ((plain, hardened), (hardened, plain)):
        for norm, eps in threats:
            examined = suspect(module, rc.attack(PGD), other=other, threat=Threat(eps, norm), images=digits.test)
            assert 0.05 < float(examined.withstood.float().mean()) < 0.98
            assert flags_of(examined) == []


def flags_of(examined: Suspect) -> list[str]:
    return [*trust_flags("student", examined.findings, examined.attacks), *examine(examined)]

from __future__ import annotations

import torch
from torch import nn

from rcframe.storage.keeper import Keeper
from rcframe.testing.toys import toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.steps import supervised


def trained(keeper: Keeper | None) -> nn.Module:
    run = toy_run("student")
    stage = Training(epochs=1, batch_size=16).stage(run, run.network("student"), supervised)
    target = execute(iter([stage]), Monitor(), keeper)
    assert target is not None
    return target


def test_who_keeps_nothing_says_that_nothing_is_finished_and_changes_nothing() -> None:
    ours, without = trained(Keeper()), trained(None)
    start = toy_run("student").network("student")
    for name, weights in ours.state_dict().items():
        assert torch.equal(weights, without.state_dict()[name])
    assert any(not torch.equal(now, before) for now, before in zip(ours.parameters(), start.parameters(), strict=True))

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from rcframe.data.batches import NoData
from rcframe.data.images import Batch
from rcframe.training.stage import Stage
from rcframe.training.steps import accuracy, supervised


def test_accuracy_by_hand() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [5.0, 4.0, 3.0], [0.0, 0.0, 1.0], [3.0, 2.0, 1.0]], requires_grad=True)
    found = accuracy(logits, torch.tensor([1, 1, 2, 0]))
    assert float(found) == 0.75
    assert not found.requires_grad


def test_a_supervised_step_is_one_gradient_step_on_the_mean_cross_entropy() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(4, 3)
    network = nn.Sequential(nn.Flatten(), linear)
    x, y = torch.rand(5, 1, 2, 2), torch.tensor([0, 1, 2, 1, 0])
    stage = Stage(
        name="one",
        target=network,
        module=network,
        step=supervised,
        epochs=1,
        batches=NoData(1),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    )
    stage.begin()
    weight, flat = linear.weight.detach().clone(), x.flatten(1)
    logits = network(x).detach()
    supervised(stage, Batch(x, y))
    error = logits.softmax(dim=1) - F.one_hot(y, 3)
    torch.testing.assert_close(linear.weight.detach(), weight - 0.1 * error.T @ flat / 5)
    torch.testing.assert_close(stage.means.read()["loss"], float(F.cross_entropy(logits, y)))
    assert stage.means.read()["accuracy"] == float(accuracy(logits, y))

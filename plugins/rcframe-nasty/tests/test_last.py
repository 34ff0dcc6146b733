from __future__ import annotations

import pytest
import torch
from rcframe_nasty.last import entering, last_layer
from torch import Tensor, nn

from rcframe import RequestError

X = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Forgetful(nn.Module):
    """Has a linear layer after its last one that it never uses."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.unused = nn.Linear(16, 8), nn.Linear(8, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.last(self.first(x.flatten(1)).relu())
        return y


def test_the_last_layer_is_the_one_whose_output_is_the_answer() -> None:
    network = Forgetful()
    assert last_layer(network, X) is network.last
    plain = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    assert last_layer(plain, X) is plain[1]


def linear() -> nn.Linear:
    """Return a layer that gives some negative outputs, which a relu after it changes."""
    layer = nn.Linear(16, 3)
    nn.init.constant_(layer.bias, -9.0)
    return layer


@pytest.mark.parametrize(
    "network",
    [
        nn.Sequential(nn.Flatten(), linear(), nn.ReLU()),
        nn.Sequential(nn.Conv2d(1, 3, 4), nn.Flatten()),
        nn.Sequential(nn.Flatten(), linear(), nn.Softplus()),
    ],
    ids=["a relu follows", "no linear layer", "a softplus follows"],
)
def test_a_network_that_ends_otherwise_is_refused(network: nn.Module) -> None:
    with pytest.raises(RequestError, match="do not come straight from a linear layer"):
        last_layer(network, X)


def test_looking_leaves_the_network_as_it_was() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.BatchNorm1d(16), nn.Linear(16, 3)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    last_layer(network, X)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(part.training for part in network.modules())
    assert not any(part._forward_pre_hooks for part in network.modules())


def test_what_enters_a_layer_is_recorded_call_by_call() -> None:
    layer = nn.Linear(16, 3)
    with entering(layer) as entered:
        layer(X.flatten(1))
        layer(2 * X.flatten(1))
    layer(X.flatten(1))
    assert len(entered.inputs) == 2
    assert torch.equal(entered.inputs[1], 2 * entered.inputs[0])

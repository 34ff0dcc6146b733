from __future__ import annotations

from contextlib import suppress

import pytest
import torch
from torch import nn

from rcframe.networks.modes import buffers_kept, evaluating, freeze, parameters_fixed


def mixed() -> nn.Sequential:
    """A network in training mode with parts in evaluation mode, one of them inside a part in training mode."""
    network = nn.Sequential(nn.BatchNorm1d(2), nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2)), nn.Dropout())
    network.train()
    network[0].eval()
    network.get_submodule("1.1").eval()
    return network


def modes(module: nn.Module) -> list[bool]:
    return [part.training for part in module.modules()]


def test_every_part_evaluates_and_gets_its_own_mode_back() -> None:
    network, other = mixed(), nn.Dropout()
    before = modes(network)
    assert set(before) == {True, False}
    with evaluating(network, other):
        assert not any(modes(network) + modes(other))
    assert modes(network) == before
    assert other.training


def test_modes_come_back_after_a_failure_and_whatever_was_set_inside() -> None:
    network = mixed()
    before = modes(network)
    with suppress(ZeroDivisionError), evaluating(network):
        network.train()
        raise ZeroDivisionError
    assert modes(network) == before


def test_a_network_that_evaluates_already_stays_so() -> None:
    network = mixed().eval()
    with evaluating(network):
        network.train()
    assert not any(modes(network))


def test_no_gradient_reaches_fixed_parameters_and_only_moving_ones_move_again() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    network[0].requires_grad_(False)
    x = torch.ones(1, 2, requires_grad=True)
    with parameters_fixed(network):
        network(x).sum().backward()
    assert x.grad is not None
    assert [p.grad for p in network.parameters()] == [None] * 4
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True]


def test_parameters_move_again_after_a_failure() -> None:
    network = nn.Linear(2, 1)
    with pytest.raises(ZeroDivisionError), parameters_fixed(network):
        raise ZeroDivisionError
    assert all(p.requires_grad for p in network.parameters())


def test_gradients_that_were_there_stay() -> None:
    network = nn.Linear(2, 1)
    network(torch.ones(1, 2)).sum().backward()
    before = network.weight.grad
    assert before is not None
    with parameters_fixed(network):
        network(torch.ones(1, 2, requires_grad=True)).sum().backward()
    assert network.weight.grad is before
    assert torch.equal(before, torch.ones(1, 2))


def test_a_frozen_network_evaluates_and_takes_no_gradients() -> None:
    network = mixed()
    assert freeze(network) is network
    assert not any(modes(network))
    assert not any(p.requires_grad for p in network.parameters())


class Replacing(nn.Module):
    """A layer that counts in a buffer, by putting a new tensor in its place, and has one that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("nothing", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.count: torch.Tensor = self.get_buffer("count") + 1
        return x


def test_buffers_come_back_whether_they_were_changed_or_replaced() -> None:
    norm, replacing = nn.BatchNorm1d(2), Replacing()
    network, x = nn.Sequential(norm, replacing), torch.rand(8, 2) + 3
    buffers = dict(network.named_buffers())
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    with suppress(ZeroDivisionError), buffers_kept(network):
        network(x)
        assert int(replacing.count) == 1
        assert float(norm.get_buffer("running_mean").min()) > 0
        raise ZeroDivisionError
    after = dict(network.named_buffers())
    assert all(after[name] is buffer and torch.equal(buffer, before[name]) for name, buffer in buffers.items())
    assert after.keys() == before.keys()

from __future__ import annotations

import torch
from rcframe_filter_pruning.proof import agree, silence
from torch import nn


def two_layers(bias: float = 0.0) -> nn.Sequential:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(1.0)
        net.get_parameter("2.bias").fill_(bias)
    return net


def test_a_silenced_layer_reads_only_what_is_kept() -> None:
    layer = nn.Linear(4, 3)
    before = layer.weight.detach().clone()
    silence(layer, torch.tensor([1, 3]))
    assert torch.equal(layer.weight[:, [1, 3]], before[:, [1, 3]])
    assert not layer.weight[:, [0, 2]].any()


def test_equal_networks_agree_and_others_do_not() -> None:
    assert agree(two_layers(), two_layers(), (1, 3, 3))
    assert not agree(two_layers(1e-4), two_layers(), (1, 3, 3))


def test_a_network_that_cannot_run_or_answers_in_another_shape_does_not_agree() -> None:
    assert not agree(nn.Sequential(nn.Conv2d(3, 1, 1)), two_layers(), (1, 3, 3))
    assert not agree(nn.Sequential(nn.Conv2d(1, 2, 1)), two_layers(), (1, 3, 3))


def test_modes_types_and_statistics_stay_as_they_are() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5)).train()
    assert agree(net, net, (1, 3, 3))
    assert net.training
    assert net[0].training
    assert {tensor.dtype for tensor in net.parameters()} == {torch.float32}
    assert net.get_buffer("1.running_mean").tolist() == [0, 0]

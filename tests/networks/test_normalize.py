from __future__ import annotations

import torch
from torch import nn

from rcframe.networks.normalize import Normalize, Normalized
from rcframe.networks.taps import taps_of


def test_pixels_are_normalised_channel_by_channel() -> None:
    x = torch.tensor([0.5, 0.2]).view(1, 2, 1, 1).expand(1, 2, 2, 3)
    out = Normalize([0.25, 0.4], [0.5, 0.1])(x)
    torch.testing.assert_close(out, torch.tensor([0.5, -2.0]).view(1, 2, 1, 1).expand(1, 2, 2, 3))


def test_mean_and_deviation_are_saved_but_never_trained() -> None:
    layer = Normalize([0.5], [0.5])
    assert set(layer.state_dict()) == {"mean", "std"}
    assert list(layer.parameters()) == []


def test_a_normalised_network_normalises_first_and_names_the_taps_inside() -> None:
    inner = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    inner.taps = ("1",)  # type: ignore[assignment]  # any attribute can be set on a module
    network = Normalized(inner, [0.3], [0.2])
    x = torch.rand(3, 1, 2, 2)
    torch.testing.assert_close(network(x), inner((x - 0.3) / 0.2))
    assert taps_of(network) == ("net.1",)
    assert network.get_submodule("net.1") is inner[1]
    assert taps_of(Normalized(nn.Identity(), [0.3], [0.2])) == ()

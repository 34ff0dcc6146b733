from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from rcframe_spiking import rcframe_components
from rcframe_spiking.cell import LIFCell, Order, fire_first, hard, immediate, talk
from rcframe_spiking.neuron import LIF
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from rcframe.errors import RequestError
from rcframe.networks.normalize import Normalized
from rcframe.networks.spiking import SpikingNetwork, counting
from rcframe.options import build, options_of


def lif_cell(neuron: LIF) -> LIFCell:
    cell = neuron.cell()
    assert isinstance(cell, LIFCell)
    return cell


# --- options ---------------------------------------------------------------------------------------------------------


def test_defaults_are_those_of_the_papers() -> None:
    cell = lif_cell(LIF())
    assert cell.dynamics is immediate
    assert (cell.threshold.item(), cell.leak.item(), cell.decay_input) == (1.0, 1.0, False)
    assert (cell.trigger.scale, cell.trigger.surrogate.relative, cell.trigger.inclusive) == (0.3, True, False)
    assert [parameter.requires_grad for parameter in cell.parameters()] == [True, True]


@pytest.mark.parametrize(
    ("order", "dynamics"), [("talk", talk), ("fire-first", fire_first), ("immediate", immediate), ("hard", hard)]
)
def test_orders_by_name(order: Order, dynamics: object) -> None:
    assert lif_cell(LIF(order=order)).dynamics is dynamics


def test_every_option_reaches_the_cell() -> None:
    given = {
        "order": "hard",
        "threshold": "1/2",
        "leak": "0.5",
        "learn": "false",
        "surrogate": "atan",
        "compare": "at-least",
        "decay_input": "true",
        "steps": "7",
        "readout": "mean",
    }
    neuron = build(LIF, given, "lif")
    cell = lif_cell(neuron)
    assert (cell.threshold.item(), cell.leak.item(), cell.decay_input) == (0.5, 0.5, True)
    assert (cell.trigger.scale, cell.trigger.inclusive, list(cell.parameters())) == (2.0, True, [])
    assert (neuron.steps, neuron.readout) == (7, "mean")
    assert lif_cell(LIF(surrogate="atan", surrogate_scale=5.0)).trigger.scale == 5.0


def test_every_option_has_a_sentence() -> None:
    assert all(option.help.endswith(".") for option in options_of(LIF))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"threshold": 0}, "more than 0"),
        ({"leak": 1.1}, "between 0 and 1"),
        ({"surrogate_scale": -1}, "more than 0"),
        ({"order": "imediate"}, "Did you mean `immediate`"),
        ({"steps": 0}, "at least 1"),
        ({"decay_input": True}, "set a leak below 1"),
    ],
)
def test_impossible_options_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(RequestError, match=words):
        build(LIF, given, "lif")


def test_the_plugin_announces_the_neuron_without_importing_torch() -> None:
    (spec,) = rcframe_components()
    assert (spec.kind, spec.name, spec.target) == ("neuron", "lif", "rcframe_spiking.neuron:LIF")
    code = "import sys, rcframe_spiking; rcframe_spiking.rcframe_components(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- networks --------------------------------------------------------------------------------------------------------


def conv_net(mean: float = 0.5, std: float = 0.5) -> nn.Module:
    torch.manual_seed(0)
    layers = [
        *(nn.Conv2d(1, 16, 4, 2, 1), nn.ReLU()),
        *(nn.Conv2d(16, 16, 4, 2, 1), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 1, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(128, 100), nn.ReLU(), nn.Linear(100, 10)),
    ]
    return Normalized(nn.Sequential(*layers), [mean], [std])


def mlp(mean: float = 0.5, std: float = 0.5) -> nn.Module:
    torch.manual_seed(0)
    return Normalized(nn.Sequential(nn.Flatten(), nn.Linear(64, 100), nn.ReLU(), nn.Linear(100, 10)), [mean], [std])


def pixels(count: int = 5) -> Tensor:
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def set_thresholds(network: SpikingNetwork, threshold: float) -> None:
    with torch.no_grad():
        for part in network.modules():
            if isinstance(part, LIFCell):
                part.threshold.fill_(threshold)


def test_each_layer_gets_its_own_threshold_and_leak() -> None:
    network = LIF(threshold=0.7).convert(conv_net())
    cells = [part for part in network.modules() if isinstance(part, LIFCell)]
    assert len(cells) == 5
    assert len({id(parameter) for cell in cells for parameter in cell.parameters()}) == 10
    assert [cell.threshold.item() for cell in cells] == pytest.approx([0.7] * 5)


def test_passes_are_repeatable_in_any_batch() -> None:
    network, x = LIF(threshold=0.3).convert(conv_net()).eval(), pixels()
    with torch.no_grad():
        logits = network(x)
        assert torch.equal(network(x), logits)
        assert torch.allclose(network(x.flip(0)).flip(0), logits, atol=1e-5)
        assert torch.allclose(network(x[:2]), logits[:2], atol=1e-5)
    assert logits.std(dim=0).min() > 0


def test_silent_networks_answer_with_their_last_bias() -> None:
    network = LIF(steps=3).convert(conv_net())
    set_thresholds(network, 1e9)
    with counting(network) as counts:
        logits = network(pixels())
    assert set(counts.per_neuron().values()) == {0.0}
    assert torch.allclose(logits, 3 * network.get_parameter("body.net.11.bias").expand(5, 10))


def test_fire_first_delays_every_layer_by_one_step() -> None:
    x = pixels()
    with torch.no_grad():
        networks = {steps: LIF(order="fire-first", threshold=0.01, steps=steps).convert(conv_net()) for steps in (5, 6)}
        spread = {steps: network(x).std(dim=0).max().item() for steps, network in networks.items()}
    assert spread[5] == 0.0
    assert spread[6] > 0.0


def test_gradients_reach_pixels_weights_thresholds_and_leaks() -> None:
    network, x = LIF().convert(conv_net()), pixels().requires_grad_()
    torch.autograd.backward(cross_entropy(network(x), torch.arange(5)))
    assert x.grad is not None
    assert float((x.grad != 0).float().mean()) > 0.5
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def accuracy_on_digits(neuron: LIF, deep: bool, epochs: int) -> float:
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    x = (torch.tensor(digits.images).float().unsqueeze(1) / 16)[order]
    y = torch.tensor(digits.target)[order]
    mean, std = x[:1347].mean().item(), x[:1347].std().item()
    network = neuron.convert(conv_net(mean, std) if deep else mlp(mean, std))
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(epochs):
        for index in torch.chunk(torch.randperm(1347), 21):
            optimizer.zero_grad()
            torch.autograd.backward(cross_entropy(network(x[index]), y[index]))
            optimizer.step()
    with torch.no_grad():
        return float((network(x[1347:]).argmax(1) == y[1347:]).float().mean())


def test_a_shallow_network_learns_digits_from_scratch() -> None:
    assert accuracy_on_digits(LIF(), deep=False, epochs=5) > 0.85


@pytest.mark.slow
def test_a_deep_network_learns_digits_from_scratch() -> None:
    assert accuracy_on_digits(LIF(), deep=True, epochs=15) > 0.93

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import rcframe as rc
from rcframe.evaluation.activity import (
    FLOAT_COSTS,
    INTEGER_COSTS,
    Activity,
    Encoding,
    Energy,
    LayerActivity,
    activity_of,
    energy_of,
    spiking_part,
)
from rcframe.networks.spiking import SpikingLayer, SpikingNetwork, convert, counting
from rcframe.testing.toys import fingerprint, some_images, trained_network


class Script(nn.Module):
    """A cell that emits given spikes (neurons,) for every image, others in every time step, round and round."""

    def __init__(self, *steps: Sequence[float]) -> None:
        super().__init__()
        self.steps = [torch.tensor(step, dtype=torch.float32) for step in steps]

    def forward(self, x: Tensor, step: Tensor | None) -> tuple[Tensor, Tensor]:
        now = 0 if step is None else int(step.flatten()[0])
        spikes = self.steps[now % len(self.steps)].view(x.shape[1:]).expand_as(x).clone()
        return spikes, torch.full_like(x, now + 1)


class Above(nn.Module):
    """A cell without memory that spikes where its input is positive."""

    def forward(self, x: Tensor, state: Tensor | None) -> tuple[Tensor, None]:
        return (x > 0).float(), None


def scripted(*steps: Sequence[float]) -> SpikingLayer:
    return SpikingLayer(Script(*steps))


def linear(weight: Sequence[Sequence[float]]) -> nn.Linear:
    rows = torch.tensor(weight)
    layer = nn.Linear(rows.shape[1], rows.shape[0])
    layer.weight = nn.Parameter(rows)
    return layer


def full(inputs: int, outputs: int) -> nn.Linear:
    """A layer without a zero among its weights."""
    return linear([[1.0 + i + j for i in range(inputs)] for j in range(outputs)])


def of(body: nn.Module, x: Tensor, steps: int = 1) -> Activity:
    return activity_of(SpikingNetwork(body, steps), [x])


def test_by_hand() -> None:
    """Two neurons spike twice and once in three steps, each into five neurons, one of which spikes always."""
    body = nn.Sequential(
        *(nn.Flatten(), full(4, 2), scripted([1, 1], [0, 0], [1, 0])),
        *(full(2, 5), scripted([0, 0, 1, 0, 0]), full(5, 3)),
    )
    assert of(body, torch.rand(7, 1, 2, 2), steps=3) == Activity(
        Encoding(steps=3, macs=8.0),
        (
            LayerActivity("2", neurons=2, rate=3 / 6, operations=15.0, macs=10.0),
            LayerActivity("4", neurons=5, rate=1 / 5, operations=9.0, macs=15.0),
        ),
    )


def test_connections_that_were_pruned_do_nothing() -> None:
    """The example of NeuroBench: 4 effective operations."""
    weights = [[1.3, 0, -3.2], [0, 1.2, -5.1], [-1.1, 2.7, 0]]
    (layer,) = of(nn.Sequential(nn.Flatten(), scripted([0, 1.3, -1]), linear(weights)), torch.ones(1, 1, 1, 3)).layers
    assert (layer.operations, layer.macs) == (4.0, 6.0)


def operations_one_by_one(conv: nn.Conv2d, spikes: Tensor) -> int:
    """Count the additions for spikes (C, H, W) by changing one input after the other."""
    found = 0
    for place in itertools.product(*map(range, spikes.shape)):
        one = torch.zeros(1, *spikes.shape, dtype=torch.float64)
        one[0, *place] = 1
        if spikes[place] != 0:
            pulled = nn.functional.conv2d(
                one, conv.weight.detach().double(), None, conv.stride, conv.padding, conv.dilation, conv.groups
            )
            # Weights are 0 or 1: the sum is the number of connections.
            found += round(float(pulled.sum()))
    return found


@pytest.mark.parametrize(
    "options",
    [{}, {"padding": 1}, {"padding": 2, "stride": 2}, {"groups": 2}, {"dilation": 2, "padding": "same"}],
    ids=str,
)
def test_a_convolution_adds_as_often_as_it_has_connections_at_the_border_too(options: dict[str, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    conv = nn.Conv2d(2, 4, 3, **options)  # type: ignore[arg-type]  # what is possible differs by option
    conv.weight = nn.Parameter((torch.rand(conv.weight.shape, generator=generator) > 0.3).float())
    spikes = (torch.rand(2, 5, 5, generator=generator) > 0.6).float()
    body = nn.Sequential(scripted(spikes.flatten().tolist()), conv, nn.Flatten())
    (layer,) = of(body, torch.zeros(2, 2, 5, 5)).layers
    assert layer.operations == operations_one_by_one(conv, spikes) > 0
    assert layer.macs == operations_one_by_one(conv, torch.ones_like(spikes))


def test_where_all_spike_always_each_step_adds_what_an_ordinary_network_multiplies() -> None:
    body = nn.Sequential(nn.Flatten(), full(4, 3), scripted([1, 1, 1]), full(3, 6))
    (layer,) = of(body, torch.rand(3, 1, 2, 2), steps=5).layers
    assert layer.operations == 5 * layer.macs == 5 * 18


def test_where_none_spikes_nothing_is_added() -> None:
    body = nn.Sequential(nn.Flatten(), full(4, 3), scripted([0, 0, 0]), full(3, 6))
    (layer,) = of(body, torch.rand(3, 1, 2, 2), steps=5).layers
    assert (layer.rate, layer.operations, layer.macs) == (0.0, 0.0, 18.0)


class Branching(nn.Module):
    """A block with a shortcut: what the first neurons send takes two ways, one of them past the second neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = full(4, 2), scripted([1, 0])
        self.long, self.second, self.shortcut = full(2, 3), scripted([1, 1, 0]), full(2, 7)
        self.end = full(3, 7)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.first(self.stem(x.flatten(1)))
        further = self.second(self.long(spikes))
        both: Tensor = self.end(further) + self.shortcut(spikes)
        return both


def test_spikes_that_go_several_ways_count_where_they_come_from() -> None:
    first, second = of(Branching(), torch.rand(2, 1, 2, 2), steps=2).layers
    assert (first.layer, first.operations, first.macs) == ("first", 2 * (3 + 7), 2 * (3 + 7))
    assert (second.layer, second.operations, second.macs) == ("second", 2 * 2 * 7, 3 * 7)


@pytest.mark.parametrize(("pool", "reached"), [(nn.AvgPool2d(2), 2), (nn.MaxPool2d(2), 2), (nn.Identity(), 3)])
def test_what_is_left_of_spikes_after_pooling_counts_for_the_layer_that_sent_them(
    pool: nn.Module, reached: int
) -> None:
    """Three spikes, two of which a pool brings together."""
    spikes = [0, 1, 0, 0, *[1, 0, 0, 0], *[0, 0, 0, 1], *[0, 0, 0, 0]]
    inputs = 16 if isinstance(pool, nn.Identity) else 4
    body = nn.Sequential(scripted(spikes), pool, nn.Flatten(), full(inputs, 10))
    (layer,) = of(body, torch.zeros(1, 1, 4, 4)).layers
    assert (layer.layer, layer.operations) == ("0", 10.0 * reached)


def test_images_and_batches_are_averaged_over_images() -> None:
    """Neurons that spike for bright images only: one of four images in batches of three and one."""
    body = nn.Sequential(nn.Flatten(), SpikingLayer(Above()), full(2, 5))
    x = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]).view(4, 1, 1, 2)
    found = activity_of(SpikingNetwork(body, 2), [x[:3], x[3:]])
    assert found.layers == (LayerActivity("1", neurons=2, rate=1 / 4, operations=2 * 10 / 4, macs=10.0),)


def test_no_image_shows_no_activity() -> None:
    assert activity_of(spiking(), []) == Activity(Encoding(3, 0.0), ())


def spiking() -> SpikingNetwork:
    return convert(rc.neuron("lif:steps=3,threshold=0.1"), trained_network(epochs=1))


def test_rates_are_those_of_the_counter_of_spikes() -> None:
    network, (x, _) = spiking().eval(), some_images()
    with counting(network) as counts:
        network(x)
    found = activity_of(network, [x])
    per_pass = {f"body.{layer.layer}": layer.rate * 3 for layer in found.layers}
    assert per_pass == pytest.approx(counts.per_neuron())
    assert any(per_pass.values())


def test_multiplications_are_those_that_torch_counts() -> None:
    """Without padding: torch counts what a kernel does beyond the border too."""
    torch.manual_seed(0)
    body = nn.Sequential(
        *(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3, stride=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(4 * 2 * 2, 5)),
    )
    x = torch.rand(1, 1, 8, 8)
    with FlopCounterMode(display=False) as flops:
        body(x)
    found = activity_of(convert(rc.neuron("lif:steps=2"), body), [x])
    assert 2 * (found.encoding.macs + sum(layer.macs for layer in found.layers)) == flops.get_total_flops()


def test_watching_changes_nothing() -> None:
    network, (x, _) = spiking().train(), some_images()
    before = fingerprint(network)
    network.eval()
    outputs = network(x)
    network.train()
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first = activity_of(network, [x])
    assert torch.equal(torch.rand(2), expected)
    assert fingerprint(network) == before
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())
    assert activity_of(network, [x]) == first
    network.eval()
    assert torch.equal(network(x), outputs)


def test_a_network_is_watched_in_evaluation_mode() -> None:
    body = nn.Sequential(nn.Flatten(), scripted([1] * 4), nn.Dropout(0.9), full(4, 3)).train()
    (layer,) = of(body, torch.zeros(8, 1, 2, 2)).layers
    assert layer.operations == 12.0


def test_hooks_are_gone_after_an_error() -> None:
    network = spiking()
    with pytest.raises(RuntimeError):
        activity_of(network, [torch.rand(1, 5, 8, 8)])
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_the_spiking_part_of_a_network_is_found() -> None:
    network = spiking()
    assert spiking_part(network) is network
    assert spiking_part(nn.Sequential(nn.Identity(), network)) is network
    assert spiking_part(trained_network(epochs=1)) is None


def test_energy_by_hand() -> None:
    layers = [LayerActivity("a", 5, 0.1, operations=30, macs=100), LayerActivity("b", 5, 0.1, operations=10, macs=50)]
    found = energy_of(Encoding(8, 20), layers)
    assert (found.spiking, found.ordinary) == pytest.approx((4.6 * 20 + 0.9 * 40, 4.6 * 170))
    assert energy_of(Encoding(8, 20), layers, INTEGER_COSTS).ordinary == pytest.approx(3.2 * 170)
    assert energy_of(Encoding(8, 20), []) == Energy(FLOAT_COSTS.multiply * 20, FLOAT_COSTS.multiply * 20)

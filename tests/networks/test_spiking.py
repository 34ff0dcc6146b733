from __future__ import annotations

import copy
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn

from rcframe.api import NeuronModel
from rcframe.errors import RequestError
from rcframe.networks.normalize import Normalized
from rcframe.networks.spiking import (
    SharedDropout,
    SpikingLayer,
    SpikingNetwork,
    SpikingState,
    convert,
    counting,
    unconvertible,
)
from rcframe.networks.taps import recording
from rcframe.options import component


class CountCell(nn.Module):
    """Integrates without a leak, fires above its threshold, keeps the rest; gradients pass as if it were linear."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(1.0))

    def forward(self, current: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        u = current if state is None else state + current
        fires = (u > self.threshold).to(u.dtype)
        return fires + (u - u.detach()), u - self.threshold * fires


@component
class Counter(NeuronModel):
    """Toy neurons for these tests."""

    def cell(self) -> nn.Module:
        return CountCell()


def linear(*weights: float, bias: float | None = None) -> nn.Linear:
    """A layer that turns one feature into as many as there are weights."""
    layer = nn.Linear(1, len(weights), bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weights).view(-1, 1))
        if bias is not None:
            layer.bias.fill_(bias)
    return layer


def small_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 5), nn.ReLU(), nn.Linear(5, 2)
    )


def images(count: int = 6) -> Tensor:
    return torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(1)) * 4


# --- one pass, by hand ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "spikes"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 3)])
def test_logits_are_the_summed_outputs_of_all_steps(steps: int, spikes: int) -> None:
    # Membranes before the reset: 0.625, 1.25, 0.875, 1.5, 1.125.
    body = nn.Sequential(linear(0.625), nn.ReLU(), linear(2.0, -3.0))
    logits = convert(Counter(steps=steps), body)(torch.ones(1, 1))
    assert logits.tolist() == [[2.0 * spikes, -3.0 * spikes]]


def test_mean_readout_divides_by_the_steps_and_a_bias_acts_in_every_step() -> None:
    body = nn.Sequential(linear(0.6), nn.ReLU(), linear(2.0, bias=0.5))
    x = torch.ones(1, 1)
    assert convert(Counter(steps=4), body)(x).item() == 4.0 + 4 * 0.5
    assert convert(Counter(steps=4, readout="mean"), body)(x).item() == 1.0 + 0.5


def test_unroll_sums_whatever_the_readout_is() -> None:
    body = nn.Sequential(linear(0.6), nn.ReLU(), linear(2.0))
    total, _ = convert(Counter(steps=9, readout="mean"), body).unroll(torch.ones(1, 1), 4)
    assert total.item() == 4.0


def test_gradients_reach_the_input_through_every_step() -> None:
    body = nn.Sequential(linear(0.25), nn.ReLU(), linear(2.0))
    x = torch.ones(1, 1, requires_grad=True)
    convert(Counter(steps=4), body)(x).sum().backward()
    # u after t steps is 0.25 t x (never above 1), and each output is 2 u to first order: 2 * 0.25 * (1 + 2 + 3 + 4).
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(5.0)


# --- state -----------------------------------------------------------------------------------------------------------


def test_two_passes_are_independent_and_the_batch_size_may_change() -> None:
    network, x = convert(Counter(), small_net()), images()
    first = network(x)
    assert first.abs().sum() > 0
    assert torch.equal(network(x[:2]), first[:2])
    assert torch.equal(network(x), first)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.allclose(network(x[order]), first[order])


class Fails(nn.Module):
    """Raises when it is run for the third time."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        if self.runs == 3:
            raise ValueError("third time")
        return x


def test_nothing_is_remembered_after_a_pass_that_raised() -> None:
    network = convert(Counter(steps=4), nn.Sequential(linear(0.6), nn.ReLU(), Fails()))
    with pytest.raises(ValueError, match="third time"):
        network(torch.ones(1, 1))
    assert network(torch.ones(1, 1)).item() == 2.0
    assert network.get_submodule("body.1")(torch.ones(1, 1)).item() == 0.0


def test_state_is_neither_saved_nor_copied() -> None:
    network, x = convert(Counter(), small_net()), images()
    keys = set(network.state_dict())
    expected = network(x)
    assert set(network.state_dict()) == keys
    assert {name for name, _ in network.named_buffers()} == set()
    assert torch.equal(copy.deepcopy(network)(x), expected)
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), expected)


def test_threads_do_not_see_each_others_state() -> None:
    network, parts = convert(Counter(steps=20), small_net()), torch.chunk(images(8), 8)
    alone = [network(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(network, parts))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_a_layer_alone_takes_one_step_from_rest() -> None:
    layer = SpikingLayer(CountCell())
    assert [layer(torch.tensor([1.5, 0.6])).tolist() for _ in range(2)] == [[1.0, 0.0]] * 2


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4))
@settings(max_examples=20, deadline=None)
def test_parts_with_carried_state_equal_one_long_run(parts: list[int]) -> None:
    network, x = convert(Counter(), small_net()).double(), images().double()
    long, end = network.unroll(x, sum(parts))
    totals, state = [], None
    for steps in parts:
        total, state = network.unroll(x, steps, state)
        totals.append(total)
    assert state is not None
    assert len(state) == 2
    assert all(same(a, b) for a, b in zip(state, end, strict=True))
    # The states agree bit for bit; the sums only up to the order of summation.
    assert torch.allclose(sum(totals, torch.zeros(())), long, rtol=1e-12, atol=1e-12)


def test_single_steps_add_up_to_a_long_run_bit_for_bit() -> None:
    network, x = convert(Counter(), small_net()), images()
    total, state = network.unroll(x, 1)
    for _ in range(7):
        output, state = network.unroll(x, 1, state)
        total = total + output
    assert torch.equal(total, network.unroll(x, 8)[0])


def same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is not None and b is not None and torch.equal(a, b)


def test_carrying_state_changes_what_follows_and_leaves_the_state_alone() -> None:
    network = convert(Counter(), nn.Sequential(linear(0.6), nn.ReLU()))
    x = torch.ones(1, 1)
    total, state = network.unroll(x, 3)
    assert total.item() == 1.0
    before = copy.deepcopy(state.detach())
    assert network.unroll(x, 1, state)[0].item() == 1.0
    assert network.unroll(x, 1)[0].item() == 0.0
    assert same(before[0], state[0])


def test_detached_state_has_the_same_values_and_no_graph() -> None:
    network = convert(Counter(), nn.Sequential(linear(0.25), nn.ReLU()))
    x = torch.ones(1, 1, requires_grad=True)
    _, state = network.unroll(x, 2)
    cut = state.detach()
    assert isinstance(cut, SpikingState)
    assert same(cut[0], state[0])
    assert [kept is not None and kept.grad_fn is not None for kept in (state[0], cut[0])] == [True, False]
    # Step 3 has u = 0.75 x with the graph, and u = 0.5 + 0.25 x without.
    for given_state, slope in ((state, 0.75), (cut, 0.25)):
        (gradient,) = torch.autograd.grad(network.unroll(x, 1, given_state)[0].sum(), x, retain_graph=True)
        assert gradient.item() == pytest.approx(slope)


def test_state_of_another_batch_or_network_is_refused() -> None:
    network, x = convert(Counter(), small_net()), images()
    _, state = network.unroll(x, 2)
    with pytest.raises(RequestError, match=r"`body\.1` remembers a batch of shape \(6, 3, 4, 4\).*\(1, 3, 4, 4\)"):
        network.unroll(x[:1], 2, state)
    other = convert(Counter(), nn.Sequential(linear(1.0), nn.ReLU()))
    with pytest.raises(RequestError, match="belongs to 2 layers, but this network has 1"):
        other.unroll(torch.ones(1, 1), 1, state)


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_are_refused(steps: int) -> None:
    with pytest.raises(RequestError, match=f"asked for {steps} time steps"):
        convert(Counter(), small_net()).unroll(images(), steps)


# --- conversion ------------------------------------------------------------------------------------------------------


def test_every_relu_becomes_a_layer_of_its_own() -> None:
    net = Normalized(
        nn.Sequential(nn.Sequential(linear(1.0), nn.ReLU6()), nn.ReLU(inplace=True), nn.Flatten()), [0], [1]
    )
    network = convert(Counter(steps=7, readout="mean"), net)
    layers = {name: part for name, part in network.named_modules() if isinstance(part, SpikingLayer)}
    assert list(layers) == ["body.net.0.1", "body.net.1"]
    assert len({id(layer.cell) for layer in layers.values()}) == 2
    assert all(layer.chain_leaf for layer in layers.values())
    assert isinstance(network.get_submodule("body.net.2"), nn.Flatten)
    assert (network.steps, network.readout) == (7, "mean")
    assert "steps=7, readout=mean" in repr(network)


def test_a_lone_relu_can_be_converted() -> None:
    assert convert(Counter(steps=4), nn.ReLU())(torch.tensor([[0.6]])).item() == 2.0


def test_the_original_is_left_alone() -> None:
    net = small_net()
    before, kinds = copy.deepcopy(net.state_dict()), [type(part) for part in net]
    network = convert(Counter(), net)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    assert [type(part) for part in net] == kinds
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_weights_keep_their_names_behind_the_prefix() -> None:
    net = small_net()
    converted = convert(Counter(), net).state_dict()
    assert set(converted) == {f"body.{name}" for name in net.state_dict()} | {
        "body.1.cell.threshold",
        "body.4.cell.threshold",
    }
    assert all(torch.equal(converted[f"body.{name}"], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_precision_is_kept(dtype: torch.dtype) -> None:
    network = convert(Counter(), small_net().to(dtype))
    assert {parameter.dtype for parameter in network.parameters()} == {dtype}
    assert network(images().to(dtype)).dtype == dtype


def test_the_device_is_kept() -> None:
    network = convert(Counter(), small_net().to("meta"))
    assert {parameter.device.type for parameter in network.parameters()} == {"meta"}


def test_modes_are_kept_layer_by_layer() -> None:
    net = small_net().eval()
    assert not any(part.training for part in convert(Counter(), net).modules())
    net[4].train()
    assert {name for name, part in convert(Counter(), net).named_modules() if part.training} == {
        "body.4",
        "body.4.cell",
    }


class Tapped(nn.Sequential):
    """A network that names its depths."""

    taps = ("1", "4")


def test_taps_are_named_from_the_outside_and_record_the_mean_over_time() -> None:
    assert convert(Counter(), small_net()).taps == ()
    network = convert(Counter(steps=4), Tapped(*small_net()))
    assert network.taps == ("body.1", "body.4")
    with recording(network, network.taps) as features, torch.no_grad():
        network(images())
    assert features["body.1"].shape == (6, 3, 4, 4)
    # A rate of whole spikes in four steps.
    assert set((4 * features["body.1"]).flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0, 4.0}


class SharedRelu(nn.Module):
    """One nn.ReLU under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(linear(1.0), nn.ReLU())
        self.act = self.first[1]

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.act(self.first(x))
        return output


class ReusedRelu(nn.Module):
    """One nn.ReLU under one name that `forward` calls twice."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.act(self.act(x))
        return output


class FunctionalRelu(nn.Module):
    """No nn.ReLU at all."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu()


def test_a_shared_relu_is_refused_with_both_names() -> None:
    with pytest.raises(RequestError, match=r"cannot become spiking: `first\.1`, `act` are .*ReLU\(\) of its own\.$"):
        convert(Counter(), SharedRelu())


def test_a_relu_that_runs_twice_is_refused_by_name_when_it_does() -> None:
    with pytest.raises(RequestError, match=r"`act` runs twice in one forward pass; give each place an nn\.ReLU\(\)"):
        convert(Counter(), ReusedRelu())


class Decides(ReusedRelu):
    """Reuses its activation behind a decision that no tracer can follow."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if bool(x.sum() > -1) else x


def test_a_relu_that_runs_twice_unseen_is_refused_when_it_does() -> None:
    network = convert(Counter(), Decides())
    with pytest.raises(RequestError, match=r"`body\.act` runs twice in one time step"):
        network(torch.ones(1, 1))


@pytest.mark.parametrize("activation", [nn.GELU(), nn.Tanh(), nn.LeakyReLU(), nn.PReLU()])
def test_activations_that_would_not_spike_are_refused(activation: nn.Module) -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), activation)
    with pytest.raises(RequestError, match=rf"`2` is a {type(activation).__name__}, which would not spike"):
        convert(Counter(), net)


class HalfFunctional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.act(x))


def test_a_residual_network_with_functional_relus_is_refused() -> None:
    with pytest.raises(RequestError, match="`relu` calls relu as a function"):
        convert(Counter(), HalfFunctional())


def test_functional_relus_are_refused() -> None:
    with pytest.raises(RequestError, match=r"`relu` calls relu as a function.*write nn\.ReLU\(\) modules"):
        convert(Counter(), FunctionalRelu())


def test_a_spiking_network_is_refused() -> None:
    network = convert(Counter(), small_net())
    for spiking, name in ((network, "SpikingNetwork"), (network.body, "1"), (nn.Sequential(network), "0")):
        with pytest.raises(RequestError, match=f"`{name}` is spiking already"):
            convert(Counter(), spiking)


def test_convertible_networks_give_no_reason() -> None:
    assert unconvertible(small_net()) is None
    assert "`first.1`, `act`" in (unconvertible(SharedRelu()) or "")


def test_the_component_converts() -> None:
    assert isinstance(Counter().convert(small_net()), SpikingNetwork)


# --- dropout ---------------------------------------------------------------------------------------------------------


def test_a_dropout_mask_is_drawn_once_per_pass_and_scaled() -> None:
    torch.manual_seed(0)
    network = convert(Counter(steps=4), nn.Sequential(nn.Dropout(0.5), nn.ReLU()))
    x = torch.full((1, 1000), 0.3)
    first, second = network(x), network(x)
    # Kept inputs arrive as 0.6 and spike twice in four steps; a mask that changed would give other counts too.
    assert set(first.flatten().tolist()) == {0.0, 2.0}
    assert 400 < int((first > 0).sum()) < 600
    assert not torch.equal(first, second)
    assert set(network.eval()(x).flatten().tolist()) == {1.0}


def test_carried_state_carries_the_mask() -> None:
    network = convert(Counter(), nn.Sequential(nn.Dropout(0.5), nn.ReLU()))
    x = torch.full((1, 1000), 0.3)
    first, state = network.unroll(x, 2)
    second, _ = network.unroll(x, 2, state)
    assert torch.equal(first, second)


def test_channel_dropout_drops_whole_channels_and_every_place_has_its_mask() -> None:
    drop = nn.Dropout2d(0.5)
    network = convert(Counter(steps=2), nn.Sequential(drop, nn.ReLU(), nn.Sequential(drop)))
    assert isinstance(network.get_submodule("body.0"), SharedDropout)
    assert isinstance(network.get_submodule("body.2.0"), SharedDropout)
    output = network(torch.full((4, 50, 3, 3), 0.3)).flatten(2)
    assert torch.equal(output.amin(2), output.amax(2))
    assert set(output.flatten().tolist()) == {0.0, 2.0}
    assert 0.1 < float((output > 0).float().mean()) < 0.4


# --- counting --------------------------------------------------------------------------------------------------------


def test_spikes_are_counted_per_neuron_over_all_steps() -> None:
    last = nn.Linear(2, 1, bias=False)
    nn.init.constant_(last.weight, 1.5)
    body = nn.Sequential(linear(0.6, 0.0), nn.ReLU(), last, nn.ReLU())
    network = convert(Counter(steps=4), body)
    with counting(network) as counts:
        network(torch.ones(3, 1))
        # A current of 1.5 makes a neuron spike in each of the four steps.
        network(torch.full((1, 1), 2.5))
    assert counts.per_neuron()["body.1"] == pytest.approx((3 * (2 + 0) + 1 * (4 + 0)) / (4 * 2))
    # Each spike brings the last neuron 1.5, enough for one spike of its own at once.
    assert counts.per_neuron()["body.3"] == pytest.approx((3 * 2 + 1 * 4) / 4)


def test_counting_changes_nothing_and_ends() -> None:
    network, x = convert(Counter(), small_net()), images()
    expected = network(x)
    with counting(network) as counts:
        assert counts.per_neuron() == {}
        assert torch.equal(network(x), expected)
    seen = counts.per_neuron()
    assert list(seen) == ["body.1", "body.4"]
    network(x)
    assert counts.per_neuron() == seen
    assert not any(part._forward_hooks for part in network.modules())

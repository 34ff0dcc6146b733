from __future__ import annotations

import math
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings, strategies as st
from rcframe_spiking.cell import DYNAMICS, LIFCell, Order
from rcframe_spiking.surrogate import SURROGATES, SurrogateName, Trigger
from torch import Tensor, nn

ORDERS = list(DYNAMICS)


def make(
    order: Order,
    threshold: float = 1.0,
    leak: float = 1.0,
    surrogate: SurrogateName = "linear",
    *,
    inclusive: bool = False,
    learn: bool = True,
    decay_input: bool = False,
) -> LIFCell:
    fire = Trigger(SURROGATES[surrogate], SURROGATES[surrogate].scale, inclusive)
    cell = LIFCell(DYNAMICS[order], fire, threshold, leak, learn=learn, decay_input=decay_input).double()
    with torch.no_grad():  # once more, as 0.9 was rounded to single precision first
        cell.threshold.fill_(threshold)
        cell.leak.fill_(leak)
    return cell


class Trace(NamedTuple):
    """What one neuron did: its spikes and the membranes it kept."""

    spikes: list[float]
    membranes: list[float]

    def before_reset(self, threshold: float = 1.0) -> list[float]:
        """The membranes that were compared with the threshold, for orders that subtract it in the same step."""
        return [u + threshold * s for u, s in zip(self.membranes, self.spikes, strict=True)]


def drive(cell: nn.Module, currents: list[float]) -> Trace:
    state: Tensor | None = None
    trace = Trace([], [])
    with torch.no_grad():
        for current in currents:
            spikes, state = cell(torch.tensor([[current]], dtype=torch.float64), state)
            assert state is not None
            trace.spikes.append(spikes.item())
            trace.membranes.append(state.item())
    return trace


def close(*values: float) -> object:
    return pytest.approx(list(values), abs=1e-12)


# --- constant current 0.6, threshold 1 -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "spikes", "membranes"),
    [
        ("talk", [0, 1, 0, 1, 0], [0.6, 1.2, 0.8, 1.4, 1.0]),
        ("fire-first", [0, 0, 1, 0, 1], [0.6, 1.2, 0.8, 1.4, 1.0]),
        ("immediate", [0, 1, 0, 1, 0], [0.6, 0.2, 0.8, 0.4, 1.0]),
        ("hard", [0, 1, 0, 1, 0], [0.6, 0.0, 0.6, 0.0, 0.6]),
    ],
)
def test_without_a_leak(order: Order, spikes: list[float], membranes: list[float]) -> None:
    # The last membrane is exactly 1 on paper: a hair less keeps rounding from lifting it above the threshold.
    trace = drive(make(order), [0.6 - 1e-14] * 5)
    assert trace.spikes == spikes
    assert trace.membranes == close(*membranes)


@pytest.mark.parametrize(
    ("order", "spikes", "membranes"),
    [
        ("talk", [0, 1, 0, 1, 0], [0.6, 1.14, 0.626, 1.1634, 0.64706]),
        ("fire-first", [0, 0, 1, 0, 1], [0.6, 1.14, 0.626, 1.1634, 0.64706]),
        ("immediate", [0, 1, 0, 1, 0], [0.6, 0.14, 0.726, 0.2534, 0.82806]),
        ("hard", [0, 1, 0, 1, 0], [0.6, 0.0, 0.6, 0.0, 0.6]),
    ],
)
def test_with_a_leak_of_nine_tenths(order: Order, spikes: list[float], membranes: list[float]) -> None:
    trace = drive(make(order, leak=0.9), [0.6] * 5)
    assert trace.spikes == spikes
    assert trace.membranes == close(*membranes)


def test_membranes_before_an_immediate_reset() -> None:
    assert drive(make("immediate", leak=0.9), [0.6] * 5).before_reset() == close(0.6, 1.14, 0.726, 1.2534, 0.82806)


@pytest.mark.parametrize(
    ("order", "compared"),
    [
        ("talk", [1.5, 0.0, 0.25, 0.375, 0.4375]),
        ("immediate", [1.5, 0.5, 0.5, 0.5, 0.5]),
        ("hard", [1.5, 0.25, 0.375, 0.4375, 0.46875]),
    ],
)
def test_a_leak_of_one_half_tells_the_orders_apart(order: Order, compared: list[float]) -> None:
    trace = drive(make(order, leak=0.5), [1.5, 0.25, 0.25, 0.25, 0.25])
    assert trace.spikes == [1, 0, 0, 0, 0]
    kept = {"talk": compared, "immediate": [0.5, *compared[1:]], "hard": [0.0, *compared[1:]]}[order]
    assert trace.membranes == close(*kept)


def test_other_thresholds_are_subtracted_whole() -> None:
    trace = drive(make("immediate", threshold=0.25), [1.0, 0.0, 0.0, 0.0, 0.0])
    assert trace.spikes == [1, 1, 1, 0, 0]
    assert trace.membranes == [0.75, 0.5, 0.25, 0.25, 0.25]


# --- threshold, resets, rates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
def test_exactly_at_the_threshold_nothing_fires(order: Order) -> None:
    assert drive(make(order), [1.0, 0.0, 0.0]).spikes == [0, 0, 0]
    assert sum(drive(make(order, inclusive=True), [1.0, 0.0, 0.0]).spikes) == 1


def test_spikingjelly_neurons_by_hand() -> None:
    # tau = 2 keeps half and takes half of the input: v = 0.75, 1.125 and a spike that empties it, again and again.
    cell = make("hard", leak=0.5, inclusive=True, decay_input=True)
    trace = drive(cell, [1.5] * 4)
    assert trace.spikes == [0, 1, 0, 1]
    assert trace.membranes == [0.75, 0.0, 0.75, 0.0]


def test_decayed_input_is_what_the_leak_takes_away() -> None:
    trace = drive(make("hard", leak=0.75, inclusive=True, decay_input=True), [2.0] * 4)
    assert trace.spikes == [0, 0, 1, 0]
    assert trace.membranes == [0.5, 0.875, 0.0, 0.5]


@pytest.mark.parametrize(("order", "spikes"), [("immediate", [1, 1, 0]), ("talk", [1, 1, 0]), ("hard", [1, 0, 0])])
def test_only_a_soft_reset_keeps_the_overshoot(order: Order, spikes: list[float]) -> None:
    assert drive(make(order), [2.5, 0.0, 0.0]).spikes == spikes


@pytest.mark.parametrize("current", [0.3, 0.7, 0.05, 0.9])
def test_soft_reset_rates(current: float) -> None:
    # An exactly divisible product sits at the threshold, where the last spike does not happen.
    current -= 1e-13
    expected = math.ceil(round(current * 100, 9)) - 1
    assert sum(drive(make("immediate"), [current] * 100).spikes) == expected


@pytest.mark.parametrize(("current", "spikes"), [(0.3, 25), (0.7, 50)])
def test_hard_reset_rates_are_lower(current: float, spikes: int) -> None:
    assert sum(drive(make("hard"), [current] * 100).spikes) == spikes


@pytest.mark.parametrize("order", ORDERS)
def test_extreme_thresholds(order: Order) -> None:
    assert sum(drive(make(order, threshold=1e9), [5.0] * 6).spikes) == 0
    assert drive(make(order, threshold=1e-3), [5.0] * 6).spikes[1:] == [1] * 5
    assert sum(drive(make(order, threshold=1e-3), [-5.0] * 6).spikes) == 0


def test_fire_first_is_the_talk_order_one_step_later() -> None:
    currents = torch.rand(40, generator=torch.Generator().manual_seed(0)).tolist()
    talk, late = drive(make("talk", leak=0.8), currents), drive(make("fire-first", leak=0.8), currents)
    assert late.spikes == [0, *talk.spikes[:-1]]
    assert late.membranes == talk.membranes


@given(
    currents=st.lists(st.floats(-2, 2, width=16), min_size=1, max_size=12),
    order=st.sampled_from(ORDERS),
    power=st.integers(-4, 4),
    leak=st.floats(0, 1, width=16),
)
def test_scaling_currents_and_threshold_together_changes_no_spike(
    currents: list[float], order: Order, power: int, leak: float
) -> None:
    # Powers of two scale without rounding, so that spikes must agree exactly.
    factor = 2.0**power
    plain = drive(make(order, leak=leak), currents)
    scaled = drive(make(order, leak=leak, threshold=factor), [factor * current for current in currents])
    assert scaled.spikes == plain.spikes
    assert scaled.membranes == [factor * u for u in plain.membranes]


@given(currents=st.lists(st.floats(-2, 2, width=16), min_size=1, max_size=12))
def test_soft_orders_spike_alike_without_a_leak(currents: list[float]) -> None:
    talk, immediate = drive(make("talk"), currents), drive(make("immediate"), currents)
    assert talk.spikes == immediate.spikes
    assert talk.membranes == immediate.before_reset()


# --- learned constants -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("threshold", "leak", "used"), [(-1.0, 1.3, (1e-3, 1.0)), (0.4, -0.2, (0.4, 0.0))])
def test_constants_are_clamped_where_they_are_used(threshold: float, leak: float, used: tuple[float, float]) -> None:
    cell = make("immediate", threshold, leak)
    assert tuple(constant.item() for constant in cell.constants()) == used
    assert (cell.threshold.item(), cell.leak.item()) == (threshold, leak)
    assert drive(cell, [0.3, 0.3]) == drive(make("immediate", *used), [0.3, 0.3])


def test_fixed_constants_are_saved_but_not_trained() -> None:
    fixed, learned = make("immediate", learn=False), make("immediate")
    assert list(fixed.state_dict()) == list(learned.state_dict()) == ["threshold", "leak"]
    assert [name for name, _ in fixed.named_parameters()] == []
    assert [name for name, _ in learned.named_parameters()] == ["threshold", "leak"]


class Slopes(NamedTuple):
    """Derivatives of a weighted sum of spikes and of the last membrane."""

    spikes: Tensor
    membrane: Tensor


def reference(order: Order, currents: Tensor, th: float, lam: float, weights: Tensor) -> Slopes:
    """Carry the derivatives to (th, lam, I_1, ..., I_T) forward by hand, with the linear surrogate of 0.3."""
    size = 2 + len(currents)
    d_th, d_lam = torch.eye(size, dtype=torch.float64)[:2]
    d_currents = torch.eye(size, dtype=torch.float64)[2:]
    u, du = 0.0, torch.zeros(size, dtype=torch.float64)
    spike_before, total = 0.0, torch.zeros(size, dtype=torch.float64)

    def spike(v: float, dv: Tensor) -> tuple[float, Tensor]:
        slope = 0.3 * max(0.0, 1 - abs(v / th - 1))
        return float(v > th), slope * (dv / th - v / th**2 * d_th)

    for current, d_current, weight in zip(currents.tolist(), d_currents, weights, strict=True):
        late, d_late = spike(u, du)
        u, du = lam * u + current, lam * du + u * d_lam + d_current
        if order == "talk":
            u, du = u - th * spike_before, du - spike_before * d_th
        s, ds = spike(u, du)
        if order == "fire-first":
            u, du, s, ds = u - th * late, du - late * d_th, late, d_late
        elif order == "immediate":
            u, du = u - th * s, du - s * d_th
        elif order == "hard":
            u, du = u * (1 - s), du * (1 - s)
        spike_before, total = s, total + weight * ds
    return Slopes(total, du)


def slopes(order: Order, currents: Tensor, th: float, lam: float, weights: Tensor) -> Slopes:
    """The same derivatives by backpropagation through the cell."""
    cell, inputs = make(order, th, lam), currents.clone().requires_grad_()
    state: Tensor | None = None
    loss = torch.zeros((), dtype=torch.float64)
    for current, weight in zip(inputs, weights, strict=True):
        spikes, state = cell(current.view(1, 1), state)
        loss = loss + weight * spikes.sum()
    assert state is not None
    wanted = (cell.threshold, cell.leak, inputs)
    found = [
        torch.autograd.grad(value, wanted, retain_graph=True, allow_unused=True, materialize_grads=True)
        for value in (loss, state.sum())
    ]
    return Slopes(*(torch.cat([part.reshape(-1) for part in gradient]) for gradient in found))


@pytest.mark.parametrize("order", ORDERS)
@given(seed=st.integers(0, 10_000), lam=st.floats(0.1, 1.0), th=st.floats(0.3, 1.5))
@settings(max_examples=40, deadline=None)
def test_backpropagation_through_time_matches_derivatives_by_hand(
    order: Order, seed: int, lam: float, th: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    currents = torch.rand(7, generator=generator, dtype=torch.float64) * 1.5 - 0.2
    weights = torch.randn(7, generator=generator, dtype=torch.float64)
    found = slopes(order, currents, th, lam, weights)
    expected = reference(order, currents, th, lam, weights)
    assert torch.allclose(found.spikes, expected.spikes, atol=1e-12)
    assert torch.allclose(found.membrane, expected.membrane, atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_membranes_match_finite_differences_while_no_spike_changes(order: Order) -> None:
    currents, weights, h = [0.7, 0.45, 1.9, 0.2, 0.35, 0.8], torch.ones(6, dtype=torch.float64), 1e-6

    def last(th: float = 0.9, lam: float = 0.8, first: float = 0.7) -> tuple[float, list[float]]:
        trace = drive(make(order, th, lam), [first, *currents[1:]])
        return trace.membranes[-1], trace.spikes

    found = slopes(order, torch.tensor(currents, dtype=torch.float64), 0.9, 0.8, weights).membrane
    for slope, up, down in (
        (found[0], last(th=0.9 + h), last(th=0.9 - h)),
        (found[1], last(lam=0.8 + h), last(lam=0.8 - h)),
        (found[2], last(first=0.7 + h), last(first=0.7 - h)),
    ):
        assert up[1] == down[1]
        assert sum(up[1]) >= 2
        assert slope.item() == pytest.approx((up[0] - down[0]) / (2 * h), abs=1e-8)


def test_the_threshold_learns_from_the_reset() -> None:
    # Far above the threshold the surrogate is flat, so that all the threshold feels is being subtracted once.
    cell = make("immediate")
    _, state = cell(torch.tensor([[3.0]], dtype=torch.float64), None)
    assert torch.autograd.grad(state.sum(), cell.threshold)[0].item() == -1.0


def test_snntorch_agrees_with_the_talk_order() -> None:
    snntorch = pytest.importorskip("snntorch")
    generator = torch.Generator().manual_seed(0)
    currents = (torch.rand(12, 3, 5, generator=generator) * 1.2 - 0.1).requires_grad_()
    weights = torch.randn(12, 3, 5, generator=generator)
    peer = snntorch.Leaky(beta=0.8, threshold=0.9, learn_beta=True, learn_threshold=True)
    cell = make("talk", 0.9, 0.8, "atan").float()

    def run_peer() -> tuple[Tensor, Tensor]:
        memory, loss = peer.init_leaky(), torch.zeros(())
        for current, weight in zip(currents, weights, strict=True):
            spikes, memory = peer(current, memory)
            loss = loss + (weight * spikes).sum()
        return loss, memory

    def run_ours() -> tuple[Tensor, Tensor]:
        state, loss = None, torch.zeros(())
        for current, weight in zip(currents, weights, strict=True):
            spikes, state = cell(current, state)
            loss = loss + (weight * spikes).sum()
        assert state is not None
        return loss, state

    (our_loss, our_state), (peer_loss, peer_state) = run_ours(), run_peer()
    assert torch.equal(our_loss, peer_loss)
    assert torch.allclose(our_state, peer_state, atol=1e-6)
    ours = torch.autograd.grad(our_loss, (currents, cell.threshold, cell.leak))
    theirs = torch.autograd.grad(peer_loss, (currents, peer.threshold, peer.beta))
    assert all(torch.allclose(a, b.view_as(a), rtol=1e-4, atol=1e-5) for a, b in zip(ours, theirs, strict=True))

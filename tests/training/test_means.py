from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.training.compute import Compute
from rcframe.training.means import Means

FLOATS = st.floats(-1e6, 1e6, width=32)


def test_means_by_hand() -> None:
    means = Means()
    for value in (1.0, 2.0, 6.0):
        means.add("a", value)
    means.add("b", torch.tensor(5.0, requires_grad=True))
    assert means.read() == {"a": 3.0, "b": 5.0}


def test_a_larger_share_weighs_more() -> None:
    means = Means()
    means.add("a", 2.0, share=1.5)
    means.add("a", torch.tensor(10.0), share=0.5)
    assert means.read() == {"a": (1.5 * 2 + 0.5 * 10) / 2}


def test_nothing_has_no_mean() -> None:
    assert Means().read() == {}


def test_a_value_is_taken_in_as_it_is_now() -> None:
    means, value = Means(), torch.tensor(4.0)
    means.add("a", value)
    value.fill_(100.0)
    means.add("a", 6.0)
    assert means.read() == {"a": 5.0}


@given(st.lists(FLOATS, min_size=2, max_size=20), st.data())
def test_means_that_were_saved_in_between_are_the_same_bits(values: list[float], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(values) - 1))
    whole, before, after = Means(), Means(), Means()
    for value in values:
        whole.add("a", torch.tensor(value))
    for value in values[:at]:
        before.add("a", torch.tensor(value))
    after.load_state_dict(before.state_dict())
    for value in values[at:]:
        after.add("a", torch.tensor(value))
    assert after.read() == whole.read()


def test_saved_means_are_plain_numbers_that_do_not_move_on() -> None:
    means, restored = Means(), Means()
    means.add("a", torch.tensor(1.0), share=1.5)
    state = means.state_dict()
    restored.load_state_dict(state)
    restored.add("a", torch.tensor(2.0))
    assert state == {"sums": {"a": 1.5}, "weights": {"a": 1.5}}
    assert restored.read() == {"a": (1.5 + 2.0) / 2.5}
    assert means.read() == {"a": 1.0}


class BesideAnother(Compute):
    """One of two processes; the other has the sums and weights (metrics, 2) given here."""

    count = 2

    def __init__(self, other: list[list[float]]) -> None:
        super().__init__()
        self.other = torch.tensor(other, dtype=torch.float64)

    def total(self, tensor: Tensor) -> Tensor:
        return tensor + self.other


def test_means_over_processes_weigh_every_share_of_every_process() -> None:
    means = Means()
    means.add("a", 3.0, share=1.2)
    means.add("b", 1.0, share=1.2)
    read = means.read(BesideAnother([[0.8 * 8, 0.8], [0.8 * 2, 0.8]]))
    assert read == pytest.approx({"a": (1.2 * 3 + 0.8 * 8) / 2, "b": (1.2 * 1 + 0.8 * 2) / 2})
    assert means.read() == {"a": pytest.approx(3.0), "b": pytest.approx(1.0)}

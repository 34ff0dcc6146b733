from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.models.check import check_logits, check_outputs

InfoOf = Callable[[tuple[int, int, int], int], DataInfo]


class Listening(nn.Module):
    """Notes what it was given and returns logits of a chosen shape."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.shape, self.seen = shape, list[Tensor]()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(self.norm(x))
        assert not torch.is_grad_enabled()
        return torch.zeros(self.shape)


@pytest.fixture
def info(info_of: InfoOf) -> DataInfo:
    return info_of((3, 5, 4), 10)


def test_a_network_that_fits_is_left_as_it_was(info: DataInfo) -> None:
    network = Listening(1, 10).train()
    network.norm.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    check_outputs(network, info)
    assert [tuple(x.shape) for x in network.seen] == [(1, 3, 5, 4)]
    assert (network.seen[0] == 0).all()
    assert (network.training, network.norm.training) == (True, False)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_statistics_and_random_state_stay(info: DataInfo) -> None:
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=1.0), nn.Dropout(), nn.Flatten(), nn.Linear(60, 10)).train()
    state, mean = torch.get_rng_state(), network.get_buffer("0.running_mean").clone()
    check_outputs(network, info)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(network.get_buffer("0.running_mean"), mean)


@pytest.mark.parametrize("outputs", [1, 9, 100])
def test_another_number_of_outputs_is_refused(outputs: int, info: DataInfo) -> None:
    words = f"The model has {outputs} outputs but data set `toys` has 10 classes: give its last layer 10 outputs"
    with pytest.raises(RequestError, match=words):
        check_outputs(Listening(1, outputs), info)


@pytest.mark.parametrize("shape", [(10,), (1, 10, 1, 1), (2, 10), ()])
def test_another_shape_is_refused(shape: tuple[int, ...], info: DataInfo) -> None:
    with pytest.raises(RequestError) as raised:
        check_outputs(Listening(*shape), info)
    assert f"of shape {shape}, but logits (1, 10)" in str(raised.value)


def test_what_is_no_tensor_is_refused(info: DataInfo) -> None:
    class Pair(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x, x

    with pytest.raises(RequestError, match="returns a `tuple`, but it must return one tensor"):
        check_outputs(Pair(), info)


def test_a_forward_pass_that_fails_is_named_with_its_message(info: DataInfo) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 10)).train()
    with pytest.raises(RequestError, match=r"images of `toys` .*\(3, 5, 4\).* RuntimeError: .*1x60 and 48x10"):
        check_outputs(network, info)
    assert network.training


def test_a_network_without_weights_is_checked_too(info: DataInfo) -> None:
    with pytest.raises(RequestError, match="60 outputs"):
        check_outputs(nn.Flatten(), info)


def test_probabilities_are_refused(info: DataInfo) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 10), nn.Softmax(dim=1))
    with pytest.raises(RequestError, match=r"returns probabilities.*remove its last softmax"):
        check_outputs(network, info)


@pytest.mark.parametrize(
    "outputs",
    [
        torch.tensor([[0.5, 0.5], [0.5, 0.6]]),
        torch.tensor([[0.5, 0.5], [1.5, -0.5]]),
        torch.tensor([[0.5, 0.5002]]),
        torch.zeros(3, 2),
        torch.zeros(0, 2),
        torch.tensor([[-0.7, -0.7]]),
        torch.tensor([[float("nan"), 1.0]]),
    ],
)
def test_logits_are_no_probabilities(outputs: Tensor) -> None:
    check_logits(outputs)


@pytest.mark.parametrize("outputs", [torch.eye(3), torch.tensor([[0.5, 0.50005]]), torch.tensor([[0.25, 0.75]] * 9)])
def test_rows_that_are_never_negative_and_sum_to_one_are_probabilities(outputs: Tensor) -> None:
    with pytest.raises(RequestError, match="returns probabilities"):
        check_logits(outputs)

"""Reading a module as steps, and refusing what the steps would not describe."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from rcframe_convex.network import read, steps_of
from rcframe_convex.steps import Unsupported
from torch import Tensor, nn

from rcframe.errors import RequestError
from rcframe.networks.normalize import Normalized


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(8, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(), nn.Linear(4, 3))


def test_steps_shapes_and_classes() -> None:
    network = read(Normalized(mlp(), [0.5, 0.4], [0.2, 0.3]), torch.rand(2, 2, 2, 2))
    assert " ".join(type(step).__name__ for step in network.steps) == "Scale Flat Dense Scale Rectifier Same Dense"
    assert network.shapes == ((2, 2, 2), (2, 2, 2), (8, 1, 1), (4, 1, 1), (4, 1, 1), (4, 1, 1), (4, 1, 1))
    assert network.classes == 3


def test_reading_means_evaluation_mode_and_changes_nothing() -> None:
    net = mlp().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    read(net, torch.rand(5, 2, 2, 2))
    assert all(part.training for part in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Forgetful(nn.Module):
    """Drops units with or without regard for the mode."""

    def __init__(self, always: bool) -> None:
        super().__init__()
        self.fc, self.always = nn.Linear(4, 2), always

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(F.dropout(x.flatten(1), training=self.always or self.training))
        return out


def test_dropout_by_function_must_end_with_training() -> None:
    steps_of(Forgetful(always=False).train())
    with pytest.raises(Unsupported, match=r"layer `dropout` \(Dropout\) drops units in evaluation mode too"):
        steps_of(Forgetful(always=True))


def test_reason_names_layer_and_kind() -> None:
    inner = nn.Sequential()
    inner.add_module("pool", nn.MaxPool2d(2))
    with pytest.raises(Unsupported, match=r"^layer `1.pool` \(MaxPool2d\) is not linear, conv, ReLU, flatten"):
        steps_of(nn.Sequential(nn.ReLU(), inner))


class Residual(nn.Module):
    """A network with a shortcut."""

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(x)


def test_reason_names_the_place_that_is_no_chain() -> None:
    with pytest.raises(Unsupported, match=r"^it is not a chain of layers: `x` gives its output to 2 places"):
        steps_of(Residual())


def test_hook_that_changes_an_output_is_noticed() -> None:
    net, x = mlp(), torch.rand(3, 2, 2, 2)
    hook = net[3].register_forward_hook(lambda module, inputs, output: output)
    with pytest.raises(RequestError, match="`3` has a forward hook, which may change what it computes"):
        read(net, x)
    hook.remove()
    read(net, x)


def test_not_a_number_is_noticed() -> None:
    net = mlp()
    nn.init.constant_(next(net.parameters()), torch.nan)
    with pytest.raises(RequestError, match="differs from its layers in order by nan"):
        read(net, torch.rand(1, 2, 2, 2))


def test_outputs_other_than_logits_are_refused() -> None:
    with pytest.raises(RequestError, match=r"returns \(1, 2, 2, 2\) .* need logits"):
        read(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), torch.rand(1, 1, 4, 4))


def test_no_images_are_no_problem() -> None:
    assert read(mlp(), torch.rand(0, 2, 2, 2)).classes == 3

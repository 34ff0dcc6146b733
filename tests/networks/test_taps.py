from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rcframe.errors import RequestError
from rcframe.networks.taps import find_tap, recording, tap_shapes, taps_of


def layered() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Sequential(nn.Linear(4, 5), nn.Tanh()), nn.Linear(5, 2))


class Repeated(nn.Module):
    """Runs one layer several times in a pass."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.layer, self.times = nn.Tanh(), times

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = [self.layer(x * k) for k in range(1, self.times + 1)]
        return torch.stack(outputs).sum(dim=0)


def test_taps_are_those_a_network_names() -> None:
    network = layered()
    assert taps_of(network) == ()
    network.taps = ["1", "2"]  # type: ignore[assignment]  # any attribute can be set on a module
    assert taps_of(network) == ("1", "2")


def test_a_layer_is_found_by_its_name() -> None:
    network = layered()
    assert find_tap(network, "2.0") is network.get_submodule("2.0")


def test_an_unknown_layer_is_refused_with_the_nearest_and_the_taps() -> None:
    network = layered()
    network.taps = ("1", "2.1")  # type: ignore[assignment]
    with pytest.raises(RequestError, match=r"no layer `2\.9`\. Did you mean `2.*Its taps: 1, 2\.1"):
        find_tap(network, "2.9")


def test_a_layer_that_an_option_names_is_refused_with_the_option_and_the_network_it_was_looked_for_in() -> None:
    network = layered()
    network.taps = ("1", "2.1")  # type: ignore[assignment]
    with pytest.raises(RequestError) as refused:
        find_tap(network, "foo", option="guided", whose="student")
    assert str(refused.value) == "In the option `guided`: the student has no layer `foo`. Its taps: 1, 2.1."


def test_the_nearest_tap_comes_before_a_nearer_layer() -> None:
    network = nn.ModuleDict({"relu": nn.Identity(), "rely1": nn.Identity()})
    network.taps = ("relu",)  # type: ignore[assignment]
    with pytest.raises(RequestError, match=r"Did you mean `relu`\? Its taps: relu\.$"):
        find_tap(network, "rely2")


def test_a_network_without_taps_is_said_to_have_none_and_its_layers_are_listed() -> None:
    with pytest.raises(RequestError, match=r"It names no taps; its layers: 0, 1, 2, 2\.0, 2\.1, 3\.$"):
        find_tap(layered(), "9")


def test_the_empty_name_is_no_layer() -> None:
    with pytest.raises(RequestError, match="The network has no layer ``"):
        find_tap(layered(), "")


def test_recorded_activations_are_those_of_a_pass_by_hand() -> None:
    network, x = layered(), torch.randn(6, 3)
    with recording(network, ["1", "2.0"]) as features:
        outputs = network(x)
    hidden = network[1](network[0](x))
    assert torch.equal(features["1"], hidden)
    assert torch.equal(features["2.0"], network.get_submodule("2.0")(hidden))
    assert torch.equal(outputs, network(x))
    assert set(features) == {"1", "2.0"}


def test_an_activation_is_kept_as_it_was_although_the_next_layer_overwrites_it() -> None:
    network, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True)), torch.randn(5, 3)
    with recording(network, ["0"]) as features:
        network(x)
    assert torch.equal(features["0"], network[0](x))
    assert bool((features["0"] < 0).any())


def test_gradients_flow_through_recorded_activations() -> None:
    network, x = layered(), torch.randn(2, 3)
    with recording(network, ["1"]) as features:
        network(x)
    features["1"].sum().backward()  # type: ignore[no-untyped-call]
    assert network[0].weight.grad is not None
    assert network[3].weight.grad is None


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_layer_that_runs_several_times_is_recorded_as_its_mean(times: int) -> None:
    network, x = Repeated(times), torch.randn(4, 3)
    with recording(network, ["layer"]) as features:
        network(x)
    torch.testing.assert_close(features["layer"], network(x) / times)


def test_cleared_features_start_anew() -> None:
    network = Repeated(3)
    with recording(network, ["layer"]) as features:
        network(torch.randn(4, 3))
        features.clear()
        network(torch.ones(1, 3))
    torch.testing.assert_close(features["layer"], torch.tanh(torch.tensor([1.0, 2.0, 3.0])).mean().expand(1, 3))


def test_no_hook_is_left_behind_even_after_a_failure() -> None:
    network = layered()
    with pytest.raises(RuntimeError), recording(network, ["0", "2"]):
        network(torch.randn(2, 7))
    assert not any(part._forward_hooks for part in network.modules())


def test_shapes_are_without_the_batch_and_the_network_stays_as_it_was() -> None:
    norm = nn.BatchNorm2d(2)
    network = nn.Sequential(nn.Conv2d(1, 2, 3).eval(), norm, nn.Flatten())
    assert tap_shapes(network, ["1", "2"], torch.rand(3, 1, 5, 4)) == {"1": (2, 3, 2), "2": (12,)}
    assert [part.training for part in network] == [False, True, True]
    assert norm.num_batches_tracked is not None
    assert int(norm.num_batches_tracked) == 0


def test_a_layer_that_does_not_run_is_refused_by_name() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Identity(), nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.used(x)
            return out

    assert tap_shapes(Idle(), ["used"], torch.zeros(2, 3)) == {"used": (3,)}
    with pytest.raises(RequestError, match=r"Layer `spare` of the network did not run, so it has no output to read"):
        tap_shapes(Idle(), ["used", "spare"], torch.zeros(2, 3))

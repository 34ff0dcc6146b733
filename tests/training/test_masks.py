from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from rcframe.networks.size import Size, size_of
from rcframe.testing.toys import toy_run
from rcframe.training.loop import execute
from rcframe.training.masks import Masks, keep_largest, prunable
from rcframe.training.monitor import Monitor
from rcframe.training.observer import Observer
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


class Watch(Observer):
    """Keeps the gradients of the last step before it is taken."""

    def __init__(self) -> None:
        self.gradients: dict[str, Tensor] = {}

    def before_update(self, stage: Stage) -> None:
        found = {name: p.grad for name, p in stage.target.named_parameters()}
        self.gradients = {name: gradient.clone() for name, gradient in found.items() if gradient is not None}


def test_the_largest_weights_of_all_layers_together_are_kept() -> None:
    weights = {"a": torch.tensor([[1.0, -8.0], [3.0, 0.5]]), "b": torch.tensor([[-7.0, 2.0]])}
    alive = keep_largest(weights, 0.5)
    assert alive["a"].tolist() == [[False, True], [True, False]]
    assert alive["b"].tolist() == [[True, False]]


@given(st.floats(0, 1), st.integers(0, 100))
def test_the_density_asked_for_is_reached_exactly(density: float, seed: int) -> None:
    torch.manual_seed(seed)
    weights = {"a": torch.randn(4, 5), "b": torch.randn(3, 7)}
    alive = keep_largest(weights, density)
    kept = torch.cat([weights[name][mask].abs() for name, mask in alive.items()])
    lost = torch.cat([weights[name][~mask].abs() for name, mask in alive.items()])
    assert len(kept) == max(1, round(density * 41))
    assert len(lost) == 0 or float(kept.min()) >= float(lost.max())


def test_biases_and_batch_norm_are_not_prunable() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2))
    assert set(prunable(network)) == {"0.weight", "3.weight"}


def masked_stage(masks: Masks, watch: Watch, epochs: int = 2) -> Stage:
    """A stage whose optimizer moves weights without a gradient: by momentum and weight decay."""
    run = toy_run("student")
    network = run.network("student")
    masks.alive = keep_largest(prunable(network), 0.3)
    training = Training(epochs=epochs, batch_size=16, optimizer="sgd", lr=0.05, momentum=0.9, weight_decay=0.01)
    return training.stage(run, network, supervised, observers=[masks, watch])


def dead(stage: Stage, masks: Masks) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield name, parameter and the places that are masked."""
    parameters = dict(stage.target.named_parameters())
    for name, mask in masks.alive.items():
        yield name, parameters[name], ~mask


def test_masked_weights_stay_exactly_zero_and_go_on_being_judged() -> None:
    masks, watch = Masks({}), Watch()
    stage = masked_stage(masks, watch)
    execute(iter([stage]), Monitor())
    assert stage.optimizer is not None
    for name, parameter, places in dead(stage, masks):
        assert places.any()
        assert not parameter.detach()[places].any()
        assert parameter.detach()[~places].all()
        assert watch.gradients[name][places].any(), "gradients of masked weights must stay"
        assert stage.optimizer.state[parameter]["momentum_buffer"][places].any(), "so must their momentum"


def test_masked_weights_are_zero_before_the_first_step() -> None:
    masks = Masks({})
    stage = masked_stage(masks, Watch())
    assert all(parameter.detach()[places].any() for _, parameter, places in dead(stage, masks))
    stage.begin()
    assert not any(parameter.detach()[places].any() for _, parameter, places in dead(stage, masks))


def test_masks_are_named_from_the_target_whatever_the_step_runs() -> None:
    run = toy_run("student")
    network = run.network("student")
    masks = Masks({"net.fc2.weight": torch.zeros(3, 16, dtype=torch.bool)})
    around = nn.Sequential(network, nn.Linear(3, 3))
    stage = Training(epochs=1, batch_size=16).stage(run, network, supervised, module=around, observers=[masks])
    execute(iter([stage]), Monitor())
    assert not network.get_parameter("net.fc2.weight").any()
    assert network.get_parameter("net.fc1.weight").all()


def test_a_mask_for_no_parameter_is_an_error() -> None:
    with pytest.raises(KeyError):
        Masks({"nothing": torch.ones(1)}).apply(nn.Linear(1, 1))


def test_masks_go_on_from_saved_ones() -> None:
    mask = torch.tensor([[True, False]])
    restored = Masks({})
    restored.load_state_dict(Masks({"weight": mask}).state_dict())
    layer = nn.Linear(2, 1)
    restored.apply(layer)
    assert layer.weight[0, 1] == 0
    assert layer.weight[0, 0] != 0


def test_sizes_by_hand() -> None:
    linear = nn.Linear(3, 2)
    network = nn.Sequential(linear, nn.BatchNorm1d(2))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 0.0, -2.0], [0.0, 0.0, 3.0]]))
        linear.bias.fill_(1.0)
    # 6 + 2 weights, of which 3 + 2 are not zero; batch norm has 2 scales (1), 2 shifts (0), 2 x 2 statistics in
    # float32 and one counter in int64.
    assert size_of(network) == Size(parameters=12, nonzero=7, bytes=4 * 12 + 4 * 4 + 8)


def test_a_shared_parameter_counts_once_and_a_frozen_one_counts() -> None:
    layer = nn.Linear(3, 3, bias=False).requires_grad_(False)
    assert size_of(nn.Sequential(layer, layer)).parameters == 9


def test_half_precision_halves_the_bytes() -> None:
    layer = nn.Linear(4, 2)
    assert size_of(layer.double()).bytes == 4 * size_of(layer.half()).bytes == 80

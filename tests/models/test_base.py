from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from rcframe.data.images import DataInfo
from rcframe.models.base import Shape, ZooModel
from rcframe.options import build, component, options_of, values_of


@component
class Flat(ZooModel):
    """One linear layer."""

    def network(self, shape: Shape, classes: int) -> nn.Module:
        channels, height, width = shape
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, classes))


@pytest.mark.parametrize(
    ("width", "count", "scaled"),
    [(1.0, 64, 64), (0.5, 64, 32), (2.0, 3, 6), (0.001, 64, 1), (0.1, 16, 2), (0.3, 16, 5), (1.5, 1, 2)],
)
def test_width_multiplies_and_keeps_at_least_one(width: float, count: int, scaled: int) -> None:
    assert Flat(width=width).scaled(count) == scaled


@given(st.floats(0.01, 8), st.integers(1, 4096))
def test_scaled_is_the_nearest_whole_number(width: float, count: int) -> None:
    scaled = Flat(width=width).scaled(count)
    assert scaled >= 1
    assert scaled == 1 or abs(scaled - width * count) <= 0.5


def test_width_and_normalisation_are_options_of_every_subclass() -> None:
    assert [option.name for option in options_of(Flat)] == ["width", "normalize"]
    assert values_of(build(Flat, {"width": "1/2"}, "flat")) == {"width": 0.5, "normalize": True}


def test_without_normalisation_the_network_sees_pixels_as_they_are() -> None:
    info = DataInfo("two", (2, 4, 4), ("a", "b"), mean=(0.3, 0.6), std=(0.5, 0.2))
    x = torch.rand(3, 2, 4, 4)
    assert torch.equal(seen_by_the_network(Flat(normalize=False).build(info), x), x)
    shifted = (x - torch.tensor([0.3, 0.6]).view(2, 1, 1)) / torch.tensor([0.5, 0.2]).view(2, 1, 1)
    assert torch.allclose(seen_by_the_network(Flat().build(info), x), shifted)


def seen_by_the_network(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    model.get_submodule("net").register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    model(x)
    return seen[0]


def test_without_a_network_there_is_no_model() -> None:
    with pytest.raises(TypeError, match="network"):
        ZooModel()  # type: ignore[abstract]  # on purpose

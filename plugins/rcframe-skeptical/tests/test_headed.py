from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from rcframe_skeptical.headed import Ensemble, Headed, HeadedStudent, with_heads
from torch import Tensor, nn

from rcframe import RequestError, SpikingNetwork, size_of, tap_shapes, taps_of
from rcframe.testing.toys import CLASSES, some_images, toy_dataset, toy_run


class Adds(nn.Module):
    """Adds a number, so that a head can tell where it sits."""

    def __init__(self, number: float) -> None:
        super().__init__()
        self.number = number

    def forward(self, x: Tensor) -> Tensor:
        return x + self.number


def test_every_head_reads_its_own_layer_and_the_ensemble_is_the_mean() -> None:
    student = nn.Sequential(Adds(1), Adds(10), Adds(100))
    headed = HeadedStudent(student, ["0", "1"], [nn.Identity(), Adds(0.5)])
    final, auxiliary = headed(torch.zeros(1, 2))
    assert final.tolist() == [[111, 111]]
    assert [logits.tolist() for logits in auxiliary] == [[[1, 1]], [[11.5, 11.5]]]
    assert Ensemble(headed)(torch.zeros(1, 2)).tolist() == [[pytest.approx((111 + 1 + 11.5) / 3)] * 2]
    assert not any(part._forward_hooks for part in student.modules())


def test_the_ensemble_of_the_final_classifier_alone_is_the_final_classifier() -> None:
    torch.manual_seed(0)
    student, x = nn.Linear(5, 3), torch.rand(4, 5)
    assert torch.equal(Ensemble(HeadedStudent(student, [], []))(x), student(x))


class Net(nn.Module):
    """Layers of every shape: maps, a vector, and a sequence; `wide` is no tap."""

    taps = ("small", "large", "pooled")

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 5, 3, padding=1)
        self.small = nn.Conv2d(5, 4, 3, padding=1)
        self.large = nn.Conv2d(4, 6, 3, 2, padding=1)
        self.pieces = nn.Flatten(2)
        self.pooled = nn.Flatten()
        self.end = nn.Linear(6 * 16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        large = self.large(self.small(self.wide(x)))
        self.pieces(large)
        out: Tensor = self.end(self.pooled(large))
        return out


def widths(head: nn.Module) -> list[int]:
    return [part.out_channels for part in head.modules() if isinstance(part, nn.Conv2d)]


@pytest.mark.parametrize(
    ("layer", "width", "units"), [("small", [6], 6), ("large", [6], 6), ("wide", [6], 6), ("pooled", [], 96)]
)
def test_heads_lead_to_the_last_map_of_the_network(layer: str, width: list[int], units: int) -> None:
    (head,) = with_heads(Net(), [layer], "plain", torch.zeros(2, 1, 8, 8), CLASSES).heads
    assert widths(head) == width
    last = [part for part in head.modules() if isinstance(part, nn.Linear)][-1]
    assert (last.in_features, last.out_features) == (units, CLASSES)


def test_a_layer_that_gives_neither_maps_nor_vectors_is_refused() -> None:
    with pytest.raises(RequestError, match=r"layer `pieces` gives \(6, 16\) per image: choose another layer"):
        with_heads(Net(), ["pieces"], "plain", torch.zeros(2, 1, 8, 8), CLASSES)


def test_convolutions_of_heads_start_he_normal() -> None:
    torch.manual_seed(0)
    (head,) = with_heads(Net(), ["wide"], "plain", torch.zeros(2, 1, 8, 8), 3).heads
    (convolution,) = [part for part in head.modules() if isinstance(part, nn.Conv2d)]
    assert float(convolution.weight.detach().std()) == pytest.approx(math.sqrt(2 / (6 * 9)), rel=0.15)


# --- the model -------------------------------------------------------------------------------------------------------

INSIDE = "blocknet:width=0.5"


def built(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    return Headed(**{"model": INSIDE, **options}).build(toy_dataset().info).eval()


def test_the_model_puts_heads_where_the_student_has_them() -> None:
    ensemble = built(head="plain")
    assert isinstance(ensemble, Ensemble)
    assert ensemble.headed.layers == ("net.relu2", "net.pool2")
    assert ensemble(some_images()[0]).shape == (12, CLASSES)


def test_the_network_inside_starts_as_it_would_alone() -> None:
    ensemble = built()
    torch.manual_seed(0)
    alone = toy_run("teacher").make(Headed, f"headed:({INSIDE})").inner.build(toy_dataset().info)
    assert isinstance(ensemble, Ensemble)
    inside = ensemble.headed.student.state_dict()
    assert all(torch.equal(inside[name], tensor) for name, tensor in alone.state_dict().items())


def test_its_taps_are_those_of_the_network_inside() -> None:
    ensemble = built()
    assert taps_of(ensemble)[0] == "headed.student.net.pool1"
    assert tap_shapes(ensemble, taps_of(ensemble), some_images()[0]).keys() == set(taps_of(ensemble))


def test_heads_stay_ordinary_where_the_network_inside_spikes() -> None:
    ensemble = built(neuron="lif:steps=2")
    assert isinstance(ensemble, Ensemble)
    assert isinstance(ensemble.headed.student, SpikingNetwork)
    assert any(isinstance(part, nn.ReLU) for part in ensemble.headed.heads.modules())
    assert ensemble(some_images()[0]).shape == (12, CLASSES)


def test_the_size_counts_the_heads() -> None:
    ensemble = built(head="plain")
    assert isinstance(ensemble, Ensemble)
    heads = size_of(ensemble.headed.heads).parameters
    assert heads > 0
    assert size_of(ensemble).parameters == size_of(ensemble.headed.student).parameters + heads


def test_a_network_without_places_for_heads_is_refused() -> None:
    with pytest.raises(RequestError, match=r"on `mlp:hidden=4`: of the two taps that are needed it has 1"):
        built(model="mlp:hidden=4")

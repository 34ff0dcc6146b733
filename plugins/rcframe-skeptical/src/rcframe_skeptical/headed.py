"""Networks with auxiliary classifiers: for training, and as an ensemble that remains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from rcframe import (
    DataInfo,
    RequestError,
    WrappingModel,
    component,
    option,
    recording,
    tap_shapes,
    taps_of,
)
from rcframe_skeptical.heads import initialise, plain_head, separable_head
from rcframe_skeptical.places import PlaceOptions

#: The paper's gated heads of separable convolutions, or one convolution for small networks.
Form = Literal["separable", "plain"]
FORM_HELP = "Form of the heads: the paper's gated ones, or one convolution for small networks."


class HeadedStudent(nn.Module):
    """A student with auxiliary classifiers at some of its layers.

    `forward` returns the final logits and one set of logits per head, each (B, classes).
    """

    def __init__(self, student: nn.Module, layers: Sequence[str], heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.student = student
        self.layers = tuple(layers)
        self.heads = nn.ModuleList(heads)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Run the student once and every head on its layer."""
        with recording(self.student, self.layers) as features:
            final: Tensor = self.student(x)
        return final, [head(features[layer]) for layer, head in zip(self.layers, self.heads, strict=True)]


class Ensemble(nn.Module):
    """A student whose auxiliary classifiers stay: its logits (B, classes) are the mean of theirs and its own."""

    def __init__(self, headed: HeadedStudent) -> None:
        super().__init__()
        self.headed = headed

    def forward(self, x: Tensor) -> Tensor:
        """Equation (4): `(o_0 + o_s + sum_j o_j) / n`, the paper's Skeptical-E, over trained heads only."""
        final, auxiliary = self.headed(x)
        return torch.stack([final, *auxiliary]).mean(dim=0)

    @property
    def taps(self) -> tuple[str, ...]:
        """The taps of the student inside, named from here."""
        return tuple(f"headed.student.{tap}" for tap in taps_of(self.headed.student))


def with_heads(student: nn.Module, layers: Sequence[str], form: Form, example: Tensor, classes: int) -> HeadedStudent:
    """Put an auxiliary classifier at every layer; `example` is a batch of images (B, C, H, W)."""
    taps = taps_of(student)
    shapes = tap_shapes(student, list(dict.fromkeys([*layers, *taps])), example)
    build = separable_head if form == "separable" else plain_head
    deepest = [tap for tap in taps if len(shapes[tap]) == 3][-1:]
    heads = []
    for layer in layers:
        if len(shapes[layer]) not in (1, 3):
            raise RequestError(
                f"A head reads maps (C, H, W) or vectors (C,), but layer `{layer}` gives {shapes[layer]} per image: "
                f"choose another layer."
            )
        # Of a layer that is no tap, no more is known than where the network leads.
        below = taps[taps.index(layer) + 1 :] if layer in taps else deepest
        heads.append(build(shapes[layer], [shapes[tap] for tap in below], classes))
        initialise(heads[-1])
    return HeadedStudent(student, layers, heads).to(example.device)


@component
class Headed(PlaceOptions, WrappingModel):
    """A network with auxiliary classifiers that averages the logits of all of them: what `skeptical-e` leaves."""

    head: Form = option(default="separable", help=FORM_HELP)

    def wrap(self, network: nn.Module, info: DataInfo) -> nn.Module:
        """Return the ensemble of a network and new heads."""
        if reason := self.lacking(network):
            raise RequestError(f"Model `headed` cannot put heads on `{self.model}`: {reason}.")
        layers = self.places(network).layers
        return Ensemble(with_heads(network, layers, self.head, torch.zeros(2, *info.shape), len(info.classes)))

"""Which layers of a student learn from which layers of a teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import attrs
from torch import nn

from rcframe import Oracle, Run, find_tap, tap_shapes, taps_of

#: Shape of a layer's output without the batch: (C, H, W) of maps, (C,) of a vector.
Shape = tuple[int, ...]
Item = TypeVar("Item")


@attrs.frozen
class Layer:
    """A layer by name, and the shape of what it puts out."""

    name: str
    shape: Shape

    @property
    def has_maps(self) -> bool:
        """Whether it puts out maps (C, H, W)."""
        return len(self.shape) == 3


@attrs.frozen
class Pair:
    """A layer of the student and the one of the teacher that it learns from."""

    student: Layer
    teacher: Layer

    @property
    def of_one_size(self) -> bool:
        """Whether their maps have the same height and width."""
        return self.student.shape[1:] == self.teacher.shape[1:]

    def __str__(self) -> str:
        sizes = ["x".join(map(str, layer.shape)) for layer in (self.teacher, self.student)]
        return f"`{self.teacher.name}` ({sizes[0]}) for `{self.student.name}` ({sizes[1]})"


def spread(items: Sequence[Item], count: int) -> tuple[Item, ...]:
    """Return `count` of the items, evenly spread over the depth, the last one included."""
    return tuple(items[(place + 1) * len(items) // count - 1] for place in range(count))


def middle(taps: Sequence[str]) -> str:
    """Return the tap halfway down, the shallower one of two."""
    return taps[(len(taps) - 1) // 2]


def student_layers(student: nn.Module, names: Sequence[str], run: Run) -> tuple[Layer, ...]:
    """Return layers of the student with their shapes."""
    shapes = tap_shapes(student, names, run.example)
    return tuple(Layer(name, shapes[name]) for name in names)


def teacher_layers(teacher: Oracle, names: Sequence[str], run: Run) -> tuple[Layer, ...]:
    """Return layers of the teacher with their shapes, for which it is asked about two blank images."""
    features = teacher.query(run.example, names).features
    return tuple(Layer(name, tuple(features[name].shape[1:])) for name in names)


def obstacle(network: nn.Module, role: str, option: str, names: Sequence[str]) -> str | None:
    """Say that `network` names no taps to choose from, or None; refuse layers named by `option` that it lacks."""
    for name in names:
        find_tap(network, name, option=option, whose=role)
    return None if names else untapped(network, role, option)


def untapped(network: nn.Module, role: str, option: str) -> str | None:
    """Say that `network` names no taps to choose from, or None."""
    if taps_of(network):
        return None
    layers = [name for name, _ in network.named_modules() if name]
    return f"the {role} names no taps: choose with the option `{option}` from its layers {', '.join(layers)}"

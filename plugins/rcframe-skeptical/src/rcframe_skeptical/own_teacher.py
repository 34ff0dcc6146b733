"""Self-distillation (Zhang et al., 2019): the end of a network teaches its middle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Batch,
    Data,
    Oracle,
    Run,
    Stage,
    StudentStrategy,
    Training,
    accuracy,
    at_least,
    between,
    component,
    more_than,
    option,
    recording,
    tap_shapes,
    taps_of,
)
from rcframe_skeptical.headed import FORM_HELP, Form, HeadedStudent, with_heads
from rcframe_skeptical.losses import feature_loss, self_loss
from rcframe_skeptical.places import layer_at


@component
class OwnTeacher(Training, StudentStrategy):
    """Is its own teacher: auxiliary classifiers at its taps learn from labels and from its final classifier.

    Zhang, Song, Gao, Chen, Bao, Ma: "Be Your Own Teacher: Improve the Performance of Convolutional Neural Networks via
    Self Distillation" (ICCV 2019). No other teacher is asked. The auxiliary classifiers leave with the training.
    """

    alpha: float = option(
        default=0.1, help="Weight of the final outputs against labels at the heads.", check=between(0, 1)
    )
    temperature: float = option(default=3.0, help="Temperature of both softmaxes.", check=more_than(0))
    features: float = option(
        default=1e-6, help="Weight of the distance of the heads' features from the final ones.", check=at_least(0)
    )
    taps: tuple[str, ...] = option(
        default=("auto",), help="Layers, or depths from 1, of the heads; `auto` is every tap but the last."
    )
    head: Form = option(default="separable", help=FORM_HELP)
    detach: bool = option(default=True, help="Whether the heads leave alone the final classifier that teaches them.")

    access = Access.NONE
    data = Data.LABELLED

    def unsupported(self, module: nn.Module) -> str | None:
        """Auxiliary classifiers need layers to sit on, and features a last tap to be compared with."""
        if not self._layers(module):
            return (
                f"of the two taps that are needed it has {len(taps_of(module))}; name layers with the option `taps`, "
                f"or list them in an attribute `taps`"
            )
        if self.features and not taps_of(module):
            return "it names no last tap that features could be compared with; set the option `features` to 0"
        return None

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train the student with its heads on equation (6) and `features` times equation (7)."""
        with run.seeded("heads"):
            layers = self._layers(student)
            module = with_heads(student, layers, self.head, run.example, len(run.info.classes))
        compared = Compared.of(module, run.example) if self.features else Compared()

        def step(stage: Stage, batch: Batch) -> None:
            with recording(stage.module, compared.layers) as seen:
                final, heads = stage.module(batch.images)
            features = [seen[layer] for layer in compared.heads]
            last = seen[compared.final].mean(dim=(2, 3)) if compared.final else final
            loss = self.loss(final, heads, batch.labels) + self.features * feature_loss(self._target(last), features)
            stage.update(loss, accuracy=accuracy(final, batch.labels))

        yield self.stage(run, student, step, module=module)

    def loss(self, final: Tensor, heads: Sequence[Tensor], y: Tensor) -> Tensor:
        """Equation (6): `CE(o_0, y) + sum_j (1 - alpha) CE(o_j, y) + alpha T^2 KL(o_0 || o_j)`, KL at temperature T."""
        soft = self_loss(self._target(final), heads, y, self.alpha, self.temperature, self.temperature**2)
        return F.cross_entropy(final, y) + soft

    def _target(self, final: Tensor) -> Tensor:
        return final.detach() if self.detach else final

    def _layers(self, network: nn.Module) -> tuple[str, ...]:
        if self.taps == ("auto",):
            return taps_of(network)[:-1]
        return tuple(dict.fromkeys(layer_at(network, name, "taps") for name in self.taps))


@attrs.frozen
class Compared:
    """The layers of a `HeadedStudent` whose outputs are compared: its last map, and what each head makes of its own.

    A head on a vector is one linear layer, which makes nothing to compare.
    """

    #: None where there is nothing to compare with.
    final: str | None = None
    heads: tuple[str, ...] = ()

    @classmethod
    def of(cls, module: HeadedStudent, example: Tensor) -> Compared:
        """Find the layers; `example` is a batch of images (B, C, H, W)."""
        shapes = tap_shapes(module.student, taps_of(module.student), example)
        maps = [f"student.{tap}" for tap, shape in shapes.items() if len(shape) == 3]
        # What a head of several layers gives to its last, linear one.
        heads = [f"heads.{n}.{len(head) - 2}" for n, head in enumerate(module.heads) if isinstance(head, nn.Sequential)]
        return cls(maps[-1], tuple(heads)) if maps and heads else cls()

    @property
    def layers(self) -> tuple[str, ...]:
        """All of them."""
        return (self.final, *self.heads) if self.final else ()

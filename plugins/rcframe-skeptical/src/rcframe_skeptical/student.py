"""The skeptical student (Kundu et al., 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import attrs
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Batch,
    Data,
    Oracle,
    RequestError,
    Run,
    Stage,
    StudentStrategy,
    Training,
    accuracy,
    at_least,
    between,
    component,
    find_tap,
    kl_divergence,
    more_than,
    option,
    tap_shapes,
    taps_of,
)
from rcframe_skeptical.heads import HeadedStudent, initialise, plain_head, separable_head


@component
class Skeptical(Training, StudentStrategy):
    """Lets the teacher in at a shallow auxiliary classifier only; deeper parts learn from labels and from themselves.

    Kundu, Sun, Fu, Pedram, Beerel: "Analyzing the Confidentiality of Undistillable Teachers in Knowledge
    Distillation" (NeurIPS 2021). Auxiliary classifiers sit at taps of the student and leave with the training: what
    remains is the student with its own final classifier. With four taps the teacher enters at the second and the
    third is distilled from the end, as in the paper.
    """

    alpha: float = option(
        default=0.9, help="Weight of the teacher's outputs against labels at the shallow head.", check=between(0, 1)
    )
    temperature: float = option(default=4.0, help="Temperature of all softmaxes.", check=more_than(0))
    beta: float = option(
        default=0.3, help="Weight of the final outputs against labels at the deeper heads.", check=between(0, 1)
    )
    gammas: tuple[float, ...] = option(
        default=(1.0, 1.0, 1.0),
        help="Weights of the three losses: teacher, self-distillation, labels at the end.",
        check=at_least(0),
    )
    tap: str = option(default="auto", help="Layer of the shallow head; `auto` takes the middle tap.")
    deeper: tuple[str, ...] = option(
        default=("auto",), help="Layers of self-distilled heads; `auto` takes the taps between `tap` and the last."
    )
    head: Literal["separable", "plain"] = option(
        default="separable", help="Form of the heads: the paper's gated ones, or one convolution for small networks."
    )
    delay: int = option(default=0, help="First epochs that learn from labels at the end alone.", check=at_least(0))
    detach: bool = option(
        default=False, help="Whether self-distillation leaves the final classifier alone (the code's does not)."
    )
    scale_self: bool = option(
        default=False, help="Whether self-distillation is scaled by temperature squared (the paper's is not)."
    )

    access = Access.LOGITS
    data = Data.LABELLED

    def unsupported(self, module: nn.Module) -> str | None:
        """Auxiliary classifiers need layers to sit on."""
        if len(self.gammas) != 3:
            raise RequestError(f"Option `gammas` of `skeptical` has {len(self.gammas)} values, but it needs three.")
        for name in (self.tap, *self.deeper):
            if name != "auto":
                find_tap(module, name)
        if self.tap == "auto" and len(taps_of(module)) < 2:
            return (
                f"it has {len(taps_of(module))} taps and two are needed; name layers with the options `tap` and "
                f"`deeper`, or list them in an attribute `taps`"
            )
        return None

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train the student with its heads on equation (3)."""
        shallow, deeper = self._places(student)
        with run.seeded("heads"):
            module = self._with_heads(student, [shallow, *deeper], run)

        def step(stage: Stage, batch: Batch) -> None:
            outputs = Outputs.of(stage.module, batch.images)
            if stage.epoch < self.delay:
                loss = F.cross_entropy(outputs.final, batch.labels)
            else:
                loss = self.loss(outputs, teacher.logits(batch.images), batch.labels)
            stage.update(
                loss,
                accuracy=accuracy(outputs.final, batch.labels),
                shallow_accuracy=accuracy(outputs.shallow, batch.labels),
            )

        yield self.stage(run, student, step, module=module)

    def _places(self, student: nn.Module) -> tuple[str, tuple[str, ...]]:
        """Return the layer of the shallow head and those of the deeper ones."""
        taps = taps_of(student)
        shallow = taps[max(0, len(taps) // 2 - 1)] if self.tap == "auto" else self.tap
        if self.deeper != ("auto",):
            return shallow, self.deeper
        between_ends = taps[taps.index(shallow) + 1 : -1] if shallow in taps else ()
        return shallow, between_ends

    def _with_heads(self, student: nn.Module, places: Sequence[str], run: Run) -> HeadedStudent:
        """Put an auxiliary classifier at every place."""
        taps = taps_of(student)
        shapes = tap_shapes(student, list(dict.fromkeys([*places, *taps])), run.example)
        build = separable_head if self.head == "separable" else plain_head
        heads = []
        for place in places:
            below = [shapes[tap] for tap in taps[taps.index(place) + 1 :]] if place in taps else []
            heads.append(build(shapes[place], below, len(run.info.classes)))
            initialise(heads[-1])
        return HeadedStudent(student, places, heads).to(run.device)

    def loss(self, outputs: Outputs, teacher_logits: Tensor, y: Tensor) -> Tensor:
        """Equation (3): `gamma_1 L_T + gamma_2 L_SD + gamma_3 CE(o_0, y)`."""
        to_teacher, to_self, to_labels = self.gammas
        loss = to_labels * F.cross_entropy(outputs.final, y)
        if to_teacher:
            loss = loss + to_teacher * self._teacher_loss(outputs.shallow, teacher_logits, y)
        if to_self:
            loss = loss + to_self * self._self_loss(outputs, y)
        return loss

    def _teacher_loss(self, shallow: Tensor, teacher_logits: Tensor, y: Tensor) -> Tensor:
        """Equation (1): `L_T = (1 - alpha) CE(o_s, y) + alpha tau^2 KL(softmax(z_T/tau) || softmax(o_s/tau))`."""
        soft = self.temperature**2 * kl_divergence(teacher_logits, shallow, self.temperature)
        return (1 - self.alpha) * F.cross_entropy(shallow, y) + self.alpha * soft

    def _self_loss(self, outputs: Outputs, y: Tensor) -> Tensor:
        """Equation (2): `L_SD = sum_j (1 - beta) CE(o_j, y) + beta KL(softmax(o_0/tau) || softmax(o_j/tau))`."""
        final = outputs.final.detach() if self.detach else outputs.final
        scale = self.temperature**2 if self.scale_self else 1.0
        total = outputs.final.new_zeros(())
        for logits in outputs.deeper:
            soft = scale * kl_divergence(final, logits, self.temperature)
            total = total + (1 - self.beta) * F.cross_entropy(logits, y) + self.beta * soft
        return total


@attrs.frozen
class Outputs:
    """Logits (B, classes) of a student with heads: final, shallow, and one per deeper head."""

    final: Tensor
    shallow: Tensor
    deeper: tuple[Tensor, ...] = ()

    @classmethod
    def of(cls, module: nn.Module, x: Tensor) -> Outputs:
        """Run a `HeadedStudent` whose first head is the shallow one."""
        final, (shallow, *deeper) = module(x)
        return cls(final, shallow, tuple(deeper))

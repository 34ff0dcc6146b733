"""The skeptical student (Kundu et al., 2021), alone and with its auxiliary classifiers."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Architecture,
    Batch,
    Data,
    Distillation,
    Oracle,
    RequestError,
    Run,
    Stage,
    accuracy,
    at_least,
    between,
    component,
    kl_divergence,
    more_than,
    option,
    spelled,
    weighted_sum,
)
from rcframe_skeptical.headed import FORM_HELP, Ensemble, Form, Headed, HeadedStudent, with_heads
from rcframe_skeptical.losses import Outputs, self_loss, teacher_loss
from rcframe_skeptical.places import PlaceOptions
from rcframe_skeptical.presets import PRESETS


@component
class Skeptical(PlaceOptions, Distillation):
    """Lets the teacher in at a shallow auxiliary classifier only; deeper parts learn from labels and from themselves.

    Kundu, Sun, Fu, Pedram, Beerel: "Analyzing the Confidentiality of Undistillable Teachers in Knowledge
    Distillation" (NeurIPS 2021). Auxiliary classifiers sit at taps of the student and leave with the training: what
    remains is the student with its own final classifier. With four taps the teacher enters at the second and the
    third is distilled from the end, as in the paper.
    """

    alpha: float = option(
        default=0.9, help="Weight of the teacher's outputs against labels where it enters.", check=between(0, 1)
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
    head: Form = option(default="separable", help=FORM_HELP)
    delay: int = option(default=0, help="First epochs that learn from labels at the end alone.", check=at_least(0))
    detach: bool = option(
        default=False, help="Whether self-distillation leaves alone the head it starts from (the code's does not)."
    )
    scale_self: bool = option(
        default=False, help="Whether self-distillation is scaled by temperature squared (the paper's is not)."
    )
    labels: bool = option(
        default=True,
        help="Whether labels are read. Without them, the teacher alone teaches the shallow head, and this one the "
        "others: the paper's form for students without data.",
    )

    access = Access.LOGITS
    data = Data.LABELLED
    presets = PRESETS

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if not self.labels:
            # What the kernel asks of a class, it finds on this one object.
            object.__setattr__(self, "data", min(self.data, Data.INPUTS))
            object.__setattr__(self, "access", self.access | Access.LABEL)

    def unsupported(self, module: nn.Module) -> str | None:
        """Auxiliary classifiers need layers to sit on."""
        if len(self.gammas) != 3:
            raise RequestError(f"Option `gammas` of `skeptical` has {len(self.gammas)} values, but it needs three.")
        if self.delay and not self.labels:
            raise RequestError(
                f"`skeptical` is to learn from labels alone for {self.delay} epochs, but labels=false: leave out one "
                f"of the options `delay` and `labels`."
            )
        return self.lacking(module)

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train the student with its heads on equation (3), or on (5) without labels."""
        places, answers = self.places(student), self.answers(run, teacher)
        with run.seeded("heads"):
            module = with_heads(student, places.layers, self.head, run.example, len(run.info.classes))

        def step(stage: Stage, batch: Batch) -> None:
            final, heads = stage.module(batch.images)
            outputs, y = Outputs.of(final, heads, enters_at_end=places.shallow is None), answers.labels(batch)
            if stage.epoch < self.delay:
                loss = F.cross_entropy(outputs.final, y)
            else:
                loss = self.loss(outputs, answers.logits(batch), y)
            stage.update(loss, accuracy=accuracy(outputs.final, y), shallow_accuracy=accuracy(outputs.shallow, y))

        yield self.stage(run, student, step, module=module, players={"answers": answers})

    def loss(self, outputs: Outputs, teacher_logits: Tensor, y: Tensor) -> Tensor:
        """Equation (3): `gamma_1 L_T + gamma_2 L_SD + gamma_3 CE(o_0, y)`; a term of weight 0 is left out."""
        if not self.labels:
            return self._loss_without_labels(outputs, teacher_logits)
        to_teacher, to_self, to_labels = self.gammas
        final = outputs.final.detach() if self.detach else outputs.final
        scale = self.temperature**2 if self.scale_self else 1.0
        return weighted_sum(
            (to_teacher, lambda: teacher_loss(outputs.shallow, teacher_logits, y, self.alpha, self.temperature)),
            (
                to_self if outputs.deeper else 0,
                lambda: self_loss(final, outputs.deeper, y, self.beta, self.temperature, scale),
            ),
            (to_labels, lambda: F.cross_entropy(outputs.final, y)),
        )

    def _loss_without_labels(self, outputs: Outputs, teacher_logits: Tensor) -> Tensor:
        """Equation (5): `tau^2 (gamma_1 KL(z_T || o_s) + gamma_2 sum_j KL(o_s || o_j) + gamma_3 KL(o_s || o_0))`.

        KL is between softmaxes at tau. The paper's form has no further heads j.
        """
        to_teacher, to_deeper, to_final = self.gammas
        target = outputs.shallow.detach() if self.detach else outputs.shallow
        loss = to_teacher * kl_divergence(teacher_logits, outputs.shallow, self.temperature)
        loss = loss + to_final * kl_divergence(target, outputs.final, self.temperature)
        for logits in outputs.deeper:
            loss = loss + to_deeper * kl_divergence(target, logits, self.temperature)
        return self.temperature**2 * loss


@component
class SkepticalEnsemble(Skeptical):
    """The skeptical student with its auxiliary classifiers kept: it answers with the mean of all logits.

    The paper's Skeptical-E. It is trained as `skeptical`, and pruners see the student without heads; what is measured,
    saved and deployed has them. The published code averages in a fourth head that its loss never reaches; here every
    head is trained.
    """

    def becomes(self, trained: Architecture) -> Architecture:
        """Describe the ensemble around what was trained."""
        headed = Headed(model=trained.model, neuron=trained.neuron, tap=self.tap, deeper=self.deeper, head=self.head)
        return attrs.evolve(trained, model=spelled(headed), neuron=None)

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train as `skeptical` and keep the heads."""
        for stage in super().plan(student, teacher, run):
            assert isinstance(stage.module, HeadedStudent)
            stage.result = Ensemble(stage.module)
            yield stage

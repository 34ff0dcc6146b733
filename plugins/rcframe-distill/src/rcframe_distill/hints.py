"""Hints from an inner layer (FitNets; Romero et al., 2015)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from rcframe import (
    Access,
    Batch,
    Data,
    Oracle,
    Run,
    Stage,
    at_least,
    changed,
    component,
    evaluating,
    option,
    recording,
    taps_of,
)
from rcframe_distill.depths import Pair, middle, obstacle, student_layers, teacher_layers
from rcframe_distill.kd import KD
from rcframe_distill.regressor import later_layers, regressor


@component
class Hints(KD):
    """Learns to foretell an inner layer of the teacher first, then what `kd` learns.

    Romero, Ballas, Kahou, Chassang, Gatta, Bengio: "FitNets: Hints for Thin Deep Nets" (ICLR 2015). In the first stage
    the layers up to the guided one are trained, with a regressor on top that leaves with the stage. The weight of the
    teacher stays the same in the second stage, where the paper lowers it from epoch to epoch.
    """

    guided: str = option(default="auto", help="Layer of the student that is guided; `auto` takes the middle tap.")
    hint: str = option(default="auto", help="Layer of the teacher that guides it; `auto` takes the middle tap.")
    hint_epochs: int = option(
        default=10, help="Epochs of the first stage; 0 leaves it out, and this is `kd`.", check=at_least(0)
    )

    access = Access.LOGITS | Access.FEATURES
    data = Data.LABELLED

    def mismatch(self, student: nn.Module, teacher: nn.Module) -> str | None:
        """Both layers must be there."""
        for network, role, name, chosen in (
            (student, "student", "guided", self.guided),
            (teacher, "teacher", "hint", self.hint),
        ):
            if reason := obstacle(network, role, name, () if chosen == "auto" else [chosen]):
                return reason
        return None

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train the layers up to the guided one on equation (8), then the whole student on equation (1)."""
        if self.hint_epochs:
            yield self._guidance(student, teacher, run)
        yield from super().plan(student, teacher, run)

    def _guidance(self, student: nn.Module, teacher: Oracle, run: Run) -> Stage:
        pair = self.pair(student, teacher, run)
        with run.seeded("regressor"):
            guess = regressor(pair.student.shape, pair.teacher.shape).to(run.device)
        module = Guided(student, pair.student.name, guess, later_layers(student, pair.student.name, run.example))

        def step(stage: Stage, batch: Batch) -> None:
            hint = teacher.query(batch.images, [pair.teacher.name]).features[pair.teacher.name]
            stage.update(hint_loss(stage.module(batch.images), hint))

        # No epoch can be judged here: the classifier has learned nothing yet.
        return changed(self, patience=0).stage(run, student, step, name="hints", module=module, epochs=self.hint_epochs)

    def pair(self, student: nn.Module, teacher: Oracle, run: Run) -> Pair:
        """Return which layer is guided by which."""
        guided = middle(taps_of(student)) if self.guided == "auto" else self.guided
        hint = middle(teacher.taps) if self.hint == "auto" else self.hint
        return Pair(*student_layers(student, [guided], run), *teacher_layers(teacher, [hint], run))


class Guided(nn.Module):
    """A student up to a layer, and a regressor that foretells the teacher's layer from that."""

    def __init__(self, student: nn.Module, tap: str, guess: nn.Module, later: Sequence[nn.Module]) -> None:
        super().__init__()
        self.student, self.guess = student, guess
        self.tap = tap
        #: Parts of the student, and in a tuple so that they are not listed twice.
        self.later = tuple(later)

    def forward(self, x: Tensor) -> Tensor:
        """Foretell the teacher's layer for images (B, C, H, W)."""
        # What comes later has no gradient here; evaluating, its running statistics stay as well.
        with evaluating(*self.later), recording(self.student, [self.tap]) as features:
            self.student(x)
        guess: Tensor = self.guess(features[self.tap])
        return guess


def hint_loss(guess: Tensor, hint: Tensor) -> Tensor:
    """Equation (8): `mean over images, channels and places of (r(v_S(x)) - v_T(x))^2`.

    `guess` is (B, C, H, W) or (B, n), `hint` the teacher's layer; a larger map of the teacher is averaged down.
    """
    if guess.dim() == 2:
        hint = hint.flatten(1)
    elif hint.shape != guess.shape:
        hint = F.adaptive_avg_pool2d(hint, (guess.shape[2], guess.shape[3]))
    return F.mse_loss(guess, hint.detach())

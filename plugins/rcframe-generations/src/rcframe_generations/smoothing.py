"""Label smoothing (Szegedy et al., 2016): soft targets that no teacher gave."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from rcframe import Access, Batch, Data, Distillation, Oracle, Run, Stage, accuracy, between, component, option


@component
class LabelSmoothing(Distillation):
    """Learns from labels that leave a little to every class: what soft targets do by themselves, without a teacher.

    Szegedy, Vanhoucke, Ioffe, Shlens, Wojna: "Rethinking the Inception Architecture for Computer Vision" (CVPR 2016).
    It is the control for students whose gain may come from soft targets and not from what the teacher knows. On
    unlabelled images the teacher is asked for its top answers, and these are smoothed.
    """

    smoothing: float = option(
        default=0.1, help="Share of every label that is spread evenly over all classes.", check=between(0, 1)
    )

    access = Access.NONE
    data = Data.LABELLED

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once on equation (2)."""
        answers = self.answers(run, teacher)

        def step(stage: Stage, batch: Batch) -> None:
            logits, y = stage.module(batch.images), answers.labels(batch)
            stage.update(smoothed_loss(logits, y, self.smoothing), accuracy=accuracy(logits, y))

        yield self.stage(run, student, step, players={"answers": answers})


def smoothed_loss(logits: Tensor, y: Tensor, smoothing: float) -> Tensor:
    """Equation (2): `-sum_k ((1 - s) [k = y] + s / C) log softmax(z)_k`, mean over the batch.

    `logits` are (B, classes), `y` is (B,), C is the number of classes and s the smoothing.
    """
    log_p = logits.log_softmax(dim=1)
    of_label = log_p.gather(1, y.unsqueeze(1)).squeeze(1)
    return -((1 - smoothing) * of_label + smoothing * log_p.mean(dim=1)).mean()

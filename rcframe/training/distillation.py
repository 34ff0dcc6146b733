"""The options of students that learn from a teacher's answers: on which images, and how those are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rcframe.access import Access
from rcframe.api import Data, StudentStrategy
from rcframe.data.images import Concatenated, Images
from rcframe.errors import RequestError
from rcframe.options import component, option
from rcframe.training.settings import Training

if TYPE_CHECKING:
    from rcframe.evaluation.oracle import Oracle
    from rcframe.training.answers import Answers
    from rcframe.training.context import Run


@component
class Distillation(Training, StudentStrategy):
    """A student strategy that learns from a teacher's answers. Added in API 1.4.

    On other images than the training images no label can be read: batches carry none, and `Answers.labels` gives the
    teacher's top answers in their place.
    """

    images: Literal["train", "extra", "both"] = option(
        default="train",
        help="Images to learn on: the training images, the data set's extra ones, or both. But for `train`, no label "
        "is read: the teacher's top answers stand in.",
    )

    def __attrs_post_init__(self) -> None:
        if self.images != "train":
            # What the kernel asks of a class, it finds on this one object.
            object.__setattr__(self, "data", min(self.data, Data.INPUTS))
            object.__setattr__(self, "access", self.access | Access.LABEL)

    def answers(self, run: Run, teacher: Oracle) -> Answers:
        """Return the teacher's answers to the images of this strategy; make it a player of the stage."""
        from rcframe.training.answers import Answers

        images = self.chosen_images(run)
        return Answers(teacher, run.data.train if images is None else images, run.compute)

    def source_images(self, run: Run) -> Images:
        """Return the images to learn on, before a fraction of them is taken."""
        if self.images == "train":
            return run.data.train
        extra = run.data.extra
        if extra is None:
            raise RequestError(
                f"A student is to learn on extra images (images={self.images}), but the data set `{run.info.name}` "
                f"brings none: choose one that does, such as `glyphs:extra=2000` or `svhn:extra=true`, or leave "
                f"`images` at train."
            )
        return extra if self.images == "extra" else Concatenated((run.data.train, extra))

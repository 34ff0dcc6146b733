"""How much a student answers like its teacher, whether that is right or wrong."""

from __future__ import annotations

import attrs
from torch import Tensor

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.evaluate import Accuracy, commonest, named
from rcframe.evaluation.softness import probabilities, sound


@attrs.frozen(kw_only=True)
class Likeness:
    """How much a student answers like its teacher on the same images. Added in API 1.4."""

    #: On how many images the two name one class.
    agreement: Accuracy
    #: The same of the images that the teacher gets wrong.
    among_mistakes: Accuracy
    #: KL(teacher || student) of their outputs at temperature 1, in nats, as a mean over images; None where no image
    #: has outputs that are numbers.
    divergence: Amount | None
    #: How often the teacher names the class that it names most: so much agreement costs no look at an image. None in
    #: reports that were written before this was counted.
    blind: Accuracy | None = None

    @property
    def says_something(self) -> bool:
        """Whether the student agrees more often than one that always names the teacher's commonest class."""
        return self.blind is None or self.agreement.interval[0] > self.blind.value

    @classmethod
    def of(cls, student: Tensor, teacher: Tensor, labels: Tensor) -> Likeness:
        """Compare logits (n, classes) of both for images with labels (n,)."""
        alike, theirs = agreeing(student, teacher), named(teacher)
        wrong = theirs != labels
        return cls(
            agreement=Accuracy.of(alike),
            among_mistakes=Accuracy.of(alike[wrong]),
            divergence=_mean_divergence(student, teacher),
            blind=commonest(theirs),
        )


def agreeing(student: Tensor, teacher: Tensor) -> Tensor:
    """Return on which images (n,) both (n, classes) name one class; never where one of them names none."""
    theirs = named(teacher)
    return (named(student) == theirs) & (theirs >= 0)


def divergences(teacher: Tensor, student: Tensor) -> Tensor:
    """Return KL(teacher || student) (n,) of logits (n, classes) at temperature 1, in nats.

    KL = sum_k p_k (log p_k - log q_k) with p the teacher's softmax and q the student's; where p_k is 0, the term is 0.
    """
    log_p, log_q = teacher.double().log_softmax(dim=1), student.double().log_softmax(dim=1)
    p = log_p.exp()
    return (p * (log_p - log_q)).where(p > 0, 0.0).sum(dim=1)


def _mean_divergence(student: Tensor, teacher: Tensor) -> Amount | None:
    both = sound(probabilities(student)) & sound(probabilities(teacher))
    found = divergences(teacher[both], student[both])
    found = found[found.isfinite()]
    if not len(found):
        return None
    mean = Amount.mean(found)
    # No divergence is below 0, so neither is their mean.
    return attrs.evolve(mean, value=max(0.0, mean.value), low=max(0.0, mean.low))

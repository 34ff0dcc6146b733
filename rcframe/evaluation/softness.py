"""How a network shares out its answers: softened outputs, and how much they give away besides the class."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from rcframe.evaluation.amount import Amount

#: A class that gets more than this of a softened output is a peak of it.
PEAK = 0.1
#: Classes up to which the mean output for the images of each class is kept.
MOST_PROFILED = 20


@attrs.frozen(kw_only=True)
class Softness:
    """The softened outputs of a network for some images, as means over these. Added in API 1.4."""

    temperature: float
    #: In nats.
    entropy: Amount
    #: Classes that get more than a tenth.
    peaks: Amount
    #: How much more the first class gets than the second.
    margin: Amount

    @classmethod
    def of(cls, logits: Tensor, temperature: float) -> Softness | None:
        """Measure logits (n, classes); images whose outputs are no numbers are left out, None if that leaves none."""
        softened = probabilities(logits, temperature)
        softened = softened[sound(softened)]
        if not len(softened):
            return None
        return cls(
            temperature=temperature,
            entropy=Amount.mean(entropies(softened)),
            peaks=Amount.mean(peaks(softened)),
            margin=Amount.mean(margins(softened)),
        )


def probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return softmax(logits / temperature) (n, classes) in float64; -inf stands for a probability of zero."""
    return (logits.double() / temperature).softmax(dim=1)


def sound(probabilities: Tensor) -> Tensor:
    """Return which rows (n,) of (n, classes) are numbers."""
    return ~probabilities.isnan().any(dim=1)


def entropies(probabilities: Tensor) -> Tensor:
    """Return the entropy (n,) of each row of (n, classes), in nats: 0 for one class alone, log(classes) at most."""
    each: Tensor = torch.special.entr(probabilities)
    return each.sum(dim=1)


def peaks(probabilities: Tensor) -> Tensor:
    """Return how many classes (n,) of each row of (n, classes) are above a tenth: int64, 0 to 9."""
    return (probabilities > PEAK).sum(dim=1)


def margins(probabilities: Tensor) -> Tensor:
    """Return how much more (n,) the first class of each row of (n, classes) has than the second; 1 for one class."""
    best = probabilities.topk(min(2, probabilities.shape[1]), dim=1).values
    return best[:, 0] - best[:, 1] if best.shape[1] > 1 else best[:, 0]


def profile(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Return the mean row (classes, classes) of (n, classes) for the images of each class; nan for a class without."""
    classes = probabilities.shape[1]
    kept = sound(probabilities)
    of_class = torch.nn.functional.one_hot(labels[kept], classes).T.to(probabilities)
    return of_class @ probabilities[kept] / of_class.sum(dim=1, keepdim=True)

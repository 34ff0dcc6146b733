"""Auto-PGD (Croce and Hein, 2020), with and without targets."""

from __future__ import annotations

from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, changed, component, option
from rcframe_autoattack.package import Package, own_seed


@component
class APGDCE(Attack):
    """Projected gradient steps with momentum on cross-entropy; their size is halved when the loss stops rising.

    Croce, Hein: "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
    (ICML 2020), as published in the package pyautoattack. Untargeted, true labels, random start. Images that are
    misclassified are asked about no more; without `early_stop` every image ends where its loss was highest.
    """

    steps: int = option(default=100, help="Gradient steps of one try.", check=at_least(1))
    restarts: int = option(default=1, help="Tries per image, from other random starts.", check=at_least(1))
    draws: int = option(
        default=1, help="Gradients averaged in every step, for models that answer at random.", check=at_least(1)
    )
    early_stop: bool = option(
        default=True, help="Whether an image is done once it is misclassified; if not, its loss is driven on."
    )

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the misclassified images found, or with `early_stop` off those of highest loss."""
        with own_seed() as seed:
            return Package(source, threat, seed).apgd(
                x,
                y,
                loss="ce",
                steps=self.steps,
                restarts=self.restarts,
                draws=self.draws,
                early_stop=self.early_stop,
            )

    def stronger(self) -> Attack:
        """Return this attack with twice the steps and tries."""
        return changed(self, steps=2 * self.steps, restarts=2 * self.restarts)

    def thorough(self) -> Attack:
        """Return this attack without early stopping."""
        return changed(self, early_stop=False)


@component
class APGDT(Attack):
    """Auto-PGD on the targeted difference of logits ratio, towards each of the likeliest other classes in turn.

    Croce, Hein: "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
    (ICML 2020), as published in the package pyautoattack. The loss needs four classes. With three it is scaled as the
    untargeted ratio is, and with two it is the difference of the logits. Targets beyond the other classes are left out.
    """

    steps: int = option(default=100, help="Gradient steps towards one class.", check=at_least(1))
    targets: int = option(
        default=9, help="Classes to try, likeliest first, as far as there are any.", check=at_least(1)
    )

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the misclassified images found."""
        targets = possible(self.targets, source, x)
        with own_seed() as seed:
            return Package(source, threat, seed).apgd_targeted(x, y, steps=self.steps, targets=targets)

    def stronger(self) -> Attack:
        """Return this attack with twice the steps."""
        return changed(self, steps=2 * self.steps)


def possible(targets: int, source: Oracle, x: Tensor) -> int:
    """Return how many of `targets` classes there are besides an image's own; asks about one image."""
    return min(targets, source.logits(x[:1]).shape[1] - 1)

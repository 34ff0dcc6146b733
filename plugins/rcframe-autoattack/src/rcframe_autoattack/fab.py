"""The fast adaptive boundary attack (Croce and Hein, 2020), with targets."""

from __future__ import annotations

from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, changed, component, option
from rcframe_autoattack.apgd import possible
from rcframe_autoattack.package import Package, own_seed


@component
class FABT(Attack):
    """Steps onto the linearised boundary to a class, pulled back towards the image; the nearest image found counts.

    Croce, Hein: "Minimally distorted adversarial examples with a fast adaptive boundary attack" (ICML 2020), as
    published in the package pyautoattack. All targets are tried on every image, since a later one may be nearer; inside
    `auto` an image is done once it is found within eps. Targets beyond the other classes are left out.
    """

    steps: int = option(default=100, help="Steps towards one class.", check=at_least(1))
    targets: int = option(
        default=9, help="Classes to try, likeliest first, as far as there are any.", check=at_least(1)
    )

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")
    nearest = True

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the nearest misclassified image of every image, wherever it is."""
        targets = possible(self.targets, source, x)
        with own_seed() as seed:
            return Package(source, threat, seed).nearest_fab_targeted(x, y, steps=self.steps, targets=targets)

    def stronger(self) -> Attack:
        """Return this attack with twice the steps."""
        return changed(self, steps=2 * self.steps)

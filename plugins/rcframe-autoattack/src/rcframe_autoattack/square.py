"""The square attack (Andriushchenko et al., 2020)."""

from __future__ import annotations

from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, changed, component, option
from rcframe_autoattack.package import Package, own_seed


@component
class Square(Attack):
    """Random search: squares of random place and colour, ever smaller, kept where they lower the margin.

    Andriushchenko, Croce, Flammarion, Hein: "Square Attack: a query-efficient black-box adversarial attack via random
    search" (ECCV 2020), as published in the package pyautoattack. Reads logits and no gradients. Squares shrink as
    they would with 10,000 queries, whatever `queries` is, as in AutoAttack.
    """

    queries: int = option(default=5000, help="Squares tried per image at most.", check=at_least(1))

    access = Access.LOGITS
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the misclassified images found."""
        with own_seed() as seed:
            return Package(source, threat, seed).square(x, y, queries=self.queries)

    def stronger(self) -> Attack:
        """Return this attack with twice the queries."""
        return changed(self, queries=2 * self.queries)

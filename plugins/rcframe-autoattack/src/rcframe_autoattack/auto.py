"""AutoAttack (Croce and Hein, 2020)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor

from rcframe import Access, Attack, Oracle, Threat, at_least, changed, component, option
from rcframe_autoattack.package import Package, own_seed

_TARGETS = 9
_RESTARTS = 5
_DRAWS = 20

#: One attack of an ensemble: from images (B, C, H, W) and labels (B,) to images.
_Attempt = Callable[[Tensor, Tensor], Tensor]


@component
class Auto(Attack):
    """AutoAttack: several attacks in turn, each on the images that the ones before left standing.

    Croce, Hein: "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free attacks"
    (ICML 2020), as published in the package pyautoattack. `standard`: apgd-ce, apgd-t and fab-t with nine targets,
    square. `plus`: more attacks and restarts. `rand`: for models that answer at random, two attacks that average 20
    gradients a step. Targets beyond the other classes are left out; below four classes see `apgd-t`.
    """

    version: Literal["standard", "plus", "rand"] = option(
        default="standard", help="Which of the published ensembles.", positional=True
    )
    steps: int = option(default=100, help="Steps of the gradient attacks; published are 100.", check=at_least(1))
    queries: int = option(default=5000, help="Squares tried per image; published are 5000.", check=at_least(1))

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return for every image the first misclassified one that was found."""
        logits = source.logits(x)
        found, standing = x.clone(), (logits.argmax(dim=1) == y).nonzero().squeeze(1)
        targets = min(_TARGETS, logits.shape[1] - 1)
        with own_seed() as seed:
            for attempt in self._attempts(Package(source, threat, seed), targets):
                if not len(standing):
                    break
                # As the kernel will have it, so that what it takes back is attacked again.
                tried = threat.project(attempt(x[standing], y[standing]), x[standing])
                fooled = _fooled(source, tried, x[standing], y[standing])
                found[standing[fooled]] = tried[fooled]
                standing = standing[~fooled]
        return found

    def stronger(self) -> Attack | None:
        """Return the next larger of the published ensembles, if there is one."""
        if self.version != "standard":
            return None
        return changed(self, version="plus")

    def _attempts(self, package: Package, targets: int) -> list[_Attempt]:
        """List the attacks in the package's order."""
        apgd = partial(package.apgd, steps=self.steps)
        square = partial(package.square, queries=self.queries)
        targeted = partial(package.apgd_targeted, steps=self.steps, targets=targets)
        fab_targeted = partial(package.fab_targeted, steps=self.steps, targets=targets)
        if self.version == "rand":
            return [partial(apgd, loss="ce", draws=_DRAWS), partial(apgd, loss="dlr", draws=_DRAWS)]
        if self.version == "standard":
            return [partial(apgd, loss="ce"), targeted, fab_targeted, square]
        return [
            partial(apgd, loss="ce", restarts=_RESTARTS),
            partial(apgd, loss="dlr", restarts=_RESTARTS),
            partial(package.fab, steps=self.steps, restarts=_RESTARTS),
            square,
            targeted,
            fab_targeted,
        ]


def _fooled(source: Oracle, tried: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return which images (B,) were moved and are misclassified now; the others are not asked about."""
    moved = (tried != x).flatten(1).any(dim=1)
    fooled = moved.clone()
    if bool(moved.any()):
        fooled[moved] = source.logits(tried[moved]).argmax(dim=1) != y[moved]
    return fooled

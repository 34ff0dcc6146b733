"""The attacks of pyautoattack on one oracle, at one radius."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import attrs
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.fab_pt import FABAttack_PT
from pyautoattack.square import SquareAttack
from torch import Tensor

from rcframe import Oracle, RequestError, Threat
from rcframe_autoattack.asking import Ask, Asking, NothingLeft, Survivors

#: Where the package's own warnings go; nobody hears them who did not ask for logs.
_LOG = logging.getLogger("rcframe_autoattack")
_LOG.addHandler(logging.NullHandler())
_NORMS = {"linf": "Linf", "l2": "L2"}

#: What one run over a batch gives: images of highest loss, which are still right, losses, misclassified images.
_Outcome = tuple[Tensor, Tensor, Tensor, Tensor]


@contextmanager
def own_seed() -> Iterator[int]:
    """Yield a seed drawn from torch's generator, which afterwards goes on as if that were all that was drawn.

    The package starts the global generators from its seed, again and again.
    """
    seed = int(torch.randint(2**31 - 1, (1,)))
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        yield seed


@attrs.frozen
class Package:
    """The attacks of pyautoattack; each takes images (B, C, H, W) and labels (B,) and returns images.

    Images for which an attack finds nothing come back as they were.
    """

    source: Oracle
    threat: Threat
    seed: int

    def apgd(
        self,
        x: Tensor,
        y: Tensor,
        *,
        loss: Literal["ce", "dlr"],
        steps: int,
        restarts: int = 1,
        draws: int = 1,
        early_stop: bool = True,
    ) -> Tensor:
        """Climb a loss; `draws` gradients are added up in every step, for models that answer at random.

        Without `early_stop`, every image ends where its loss was highest.
        """
        attack = _APGD(
            self._ask(x),
            norm=_NORMS[self.threat.norm],
            eps=float(self.threat.eps),
            n_iter=steps,
            n_restarts=restarts,
            loss=loss,
            eot_iter=draws,
            seed=self.seed,
            device=x.device,
            logger=_LOG,
        )
        # An answer that is right only now and then proves nothing.
        attack.sparing = early_stop and draws == 1
        return _whole(attack.perturb(x, y, best_loss=not early_stop), x)

    def apgd_targeted(self, x: Tensor, y: Tensor, *, steps: int, targets: int) -> Tensor:
        """Climb the targeted ratio of logits towards each of the `targets` likeliest other classes in turn."""
        attack = _TargetedAPGD(
            self._ask(x),
            norm=_NORMS[self.threat.norm],
            eps=float(self.threat.eps),
            n_iter=steps,
            n_restarts=1,
            n_target_classes=targets,
            seed=self.seed,
            device=x.device,
            logger=_LOG,
        )
        return _whole(attack.perturb(x, y), x)

    def fab(self, x: Tensor, y: Tensor, *, steps: int, restarts: int) -> Tensor:
        """Walk across the nearest boundary; images found within the radius are done."""
        attack = self._fab(x, steps)
        attack.n_restarts = restarts
        return _whole(attack.perturb(x, y), x)

    def fab_targeted(self, x: Tensor, y: Tensor, *, steps: int, targets: int) -> Tensor:
        """Walk across the boundary to each of the likeliest other classes; images found within the radius are done."""
        attack = self._fab(x, steps)
        attack.targeted, attack.n_target_classes = True, targets
        return _whole(attack.perturb(x, y), x)

    def nearest_fab_targeted(self, x: Tensor, y: Tensor, *, steps: int, targets: int) -> Tensor:
        """Walk across the boundary to each of the likeliest other classes; keep the nearest image, however far."""
        attack = self._fab(x, steps)
        best, far = x, torch.full((len(x),), float("inf"), device=x.device, dtype=x.dtype)
        # The package counts classes from 1, the likeliest, which is the image's own.
        for rank in range(2, targets + 2):
            attack.target_class = rank
            tried = _whole(attack.attack_single_run(x, y, is_targeted=True), x)
            away = self.threat.distance(tried, x)
            better = (away > 0) & (away < far)
            best = torch.where(better.view(-1, *[1] * (x.dim() - 1)), tried, best)
            far = torch.where(better, away, far)
        return best

    def square(self, x: Tensor, y: Tensor, *, queries: int) -> Tensor:
        """Paint random squares and keep those that lower the margin."""
        if self.threat.norm == "l2" and min(x.shape[2:]) < 5:
            raise RequestError(
                f"The square attack in l2 starts from a grid of 5 x 5 patches, and the images have "
                f"{x.shape[2]} x {x.shape[3]} pixels: use norm linf, or another attack."
            )
        attack = SquareAttack(
            self._ask(x),
            norm=_NORMS[self.threat.norm],
            eps=float(self.threat.eps),
            n_queries=queries,
            n_restarts=1,
            resc_schedule=False,
            seed=self.seed,
            device=x.device,
        )
        return _whole(attack.perturb(x, y), x)

    def _fab(self, x: Tensor, steps: int) -> FABAttack_PT:
        return FABAttack_PT(
            self._ask(x),
            norm=_NORMS[self.threat.norm],
            eps=float(self.threat.eps),
            n_iter=steps,
            n_restarts=1,
            seed=self.seed,
            device=x.device,
        )

    def _ask(self, x: Tensor) -> Asking:
        return Asking(self.source, x.dtype)


def _whole(found: Tensor, x: Tensor) -> Tensor:
    """Return what the package found in the type of `x`; what it left alone exactly as it was."""
    moved = (found != x.float()).flatten(1).any(dim=1)
    return torch.where(moved.view(-1, *[1] * (x.dim() - 1)), found.detach().to(x.dtype), x)


def _run_sparingly(run: Callable[[], _Outcome], survivors: Survivors) -> _Outcome:
    """Carry out a run that asks through `survivors`, and return what these saw."""
    try:
        _, _, losses, _ = run()
    except NothingLeft:
        losses = torch.zeros(len(survivors.found), device=survivors.found.device)
    return survivors.found, survivors.standing, losses, survivors.found


class _APGD(APGDAttack):  # type: ignore[misc]  # the package has no types
    """The package's attack, which asks no more about images that are misclassified."""

    model: Ask
    sparing = True

    def attack_single_run(self, x: Tensor, y: Tensor, x_init: Tensor | None = None) -> _Outcome:
        if not self.sparing:
            outcome: _Outcome = super().attack_single_run(x, y, x_init)
            return outcome
        whole = self.model
        survivors = Survivors(whole, x, y)
        self.model = survivors
        try:
            return _run_sparingly(lambda: super(_APGD, self).attack_single_run(x, y, x_init), survivors)
        finally:
            self.model = whole

    def dlr_loss(self, x: Tensor, y: Tensor) -> Tensor:
        """With two classes the ratio is always 1 or -1; what is left is the difference."""
        if x.shape[1] < 3:
            return _lead_of_others(x, y)
        ratio: Tensor = super().dlr_loss(x, y)
        return ratio


class _TargetedAPGD(APGDAttack_targeted, _APGD):  # type: ignore[misc]  # the package has no types
    """The same with a target; where its loss is not defined, the nearest that is."""

    def dlr_loss_targeted(self, x: Tensor, y: Tensor) -> Tensor:
        """Below four classes there is no fourth logit to scale by: three are scaled as without target, two not."""
        if x.shape[1] > 3:
            ratio: Tensor = super().dlr_loss_targeted(x, y)
            return ratio
        if x.shape[1] < 3:
            return _lead_of_others(x, y)
        ordered = x.sort(dim=1).values
        lead = x.gather(1, self.y_target.unsqueeze(1)) - x.gather(1, y.unsqueeze(1))
        return lead.squeeze(1) / (ordered[:, -1] - ordered[:, -3] + 1e-12)


def _lead_of_others(logits: Tensor, y: Tensor) -> Tensor:
    """Return by how much (B,) the largest other logit exceeds that of the label."""
    others = logits.scatter(1, y.unsqueeze(1), float("-inf")).amax(dim=1)
    return others - logits.gather(1, y.unsqueeze(1)).squeeze(1)

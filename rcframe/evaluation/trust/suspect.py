"""A measured network under examination, and which images are worth another try."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from functools import partial

import attrs
import torch
from torch import Tensor, nn

from rcframe.api import Attack
from rcframe.data.images import Images
from rcframe.evaluation.album import evenly
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.flags import Findings
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.chance import Survivors
from rcframe.evaluation.trust.pieces import in_pieces
from rcframe.evaluation.trust.sorts import BY_GRADIENT, Sort, sort_of
from rcframe.training.randomness import seeded

#: How many images are tried by what asks little, and by what asks much.
MANY, SOME = 64, 32


@attrs.frozen(kw_only=True, eq=False)
class Suspect:
    """One network of a run, what was found of it, and by which attacks."""

    #: What sentences call the network, and the other one of the run.
    role: str
    module: nn.Module
    other_role: str
    other: nn.Module
    findings: Findings
    #: By spec string, as in the findings.
    attacks: Mapping[str, Attack]
    threat: Threat
    #: The measured images (n), in the order of the findings, and where their networks are.
    images: Images
    device: torch.device
    seed: int = 0

    @functools.cached_property
    def withstood(self) -> Tensor:
        """Which images (n,) are right and stayed so under every attack."""
        return self.withstanding(*self.findings.attacked)

    @functools.cached_property
    def retried(self) -> Tensor:
        """The places (B,) of some images that withstood every attack, for whatever asks much."""
        return some_of(self.withstood, SOME)

    @functools.cached_property
    def with_effort(self) -> dict[str, Tensor]:
        """Which (B,) of the retried images each gradient attack breaks with more effort, where it has more."""
        with seeded(self.seed, "trust", "effort"):
            return {
                spec: self.broken(stronger, self.retried)
                for spec, attack in self.of_sort(*BY_GRADIENT).items()
                if (stronger := attack.stronger()) is not None
            }

    @functools.cached_property
    def firm(self) -> Tensor:
        """The places (B,) of the retried images that withstood more effort too."""
        fell = torch.zeros(len(self.retried), dtype=torch.bool)
        for broken in self.with_effort.values():
            fell |= broken
        return self.retried[~fell]

    def withstanding(self, *specs: str) -> Tensor:
        """Return which images (n,) are right and stayed so under these attacks."""
        right = self.findings.clean
        for spec in specs:
            right = right & self.findings.attacked[spec]
        return right.cpu()

    def of_sort(self, *sorts: Sort) -> dict[str, Attack]:
        """Return the attacks of these sorts."""
        return {spec: attack for spec, attack in self.attacks.items() if sort_of(attack) in sorts}

    def batch(self, which: Tensor) -> tuple[Tensor, Tensor]:
        """Return images (B, C, H, W) and labels (B,) at the places (B,) among those measured."""
        batch = self.images.fetch(which)
        return batch.images.to(self.device), batch.labels.to(self.device)

    def broken(self, attack: Attack, which: Tensor, *, eps: float | None = None, transfer: bool = False) -> Tensor:
        """Return which (B,) of the images at `which` (B,) an attack breaks, crafted on the other network if asked."""
        threat = self.threat if eps is None else attrs.evolve(self.threat, eps=eps)
        if not len(which):
            return torch.zeros(0, dtype=torch.bool)
        source = self.other if transfer else None
        return in_pieces(partial(_broken, attack, self.module, source, threat), *self.batch(which)).cpu()

    def among(self, withstood: Tensor, tried: Tensor) -> Survivors:
        """Count the images that were attacked, those (n,) of them that withstood, and those (B,) that are tried."""
        return Survivors(int(self.findings.clean.sum()), int(withstood.sum()), len(tried))


def some_of(candidates: Tensor, most: int) -> Tensor:
    """Return the places (B,) of at most so many of the candidates (n,), spread evenly."""
    places = candidates.cpu().nonzero().squeeze(1)
    return places[evenly(len(places), min(most, len(places)))]


def _broken(
    attack: Attack, module: nn.Module, source: nn.Module | None, threat: Threat, x: Tensor, y: Tensor
) -> Tensor:
    return predict(module, attack_batch(attack, module, x, y, threat, source=source)) != y

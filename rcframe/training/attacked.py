"""Training on attacked images: an attack on a network while its weights move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import attrs
import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack
from rcframe.data.images import Batch
from rcframe.errors import RequestError, RunFailed
from rcframe.networks.modes import buffers_kept, evaluating, parameters_fixed
from rcframe.storage.code import code_of

if TYPE_CHECKING:
    from rcframe.evaluation.oracle import Oracle
    from rcframe.evaluation.threat import Threat

#: How batch norm and dropout of a network behave while it is attacked in training.
AttackMode = Literal["eval", "train"]


def _thorough(attack: Attack) -> Attack:
    return attack.thorough()


@attrs.frozen(kw_only=True, eq=False)
class InnerAttack:
    """An attack on a network that is being trained, with the weights that it has at that moment. Added in API 1.3.

    The network comes back exactly as it was: modes, gradients, and buffers such as running statistics. With `mode`
    "eval" everything evaluates meanwhile; with "train" every layer is in the mode it trains in, so that batch norm uses
    the statistics of the attacked batch. What the attack draws comes from the generators of the stage. Images for which
    it returns no numbers stay as they are, and the rest is projected into the threat.
    """

    #: Without its shortcuts, whichever it was.
    attack: Attack = attrs.field(converter=_thorough)
    network: nn.Module = attrs.field(repr=False)
    threat: Threat
    mode: AttackMode = "eval"
    _oracle: Oracle = attrs.field(init=False, repr=False)

    @_oracle.default
    def _make_oracle(self) -> Oracle:
        from rcframe.evaluation.oracle import ModelOracle

        return ModelOracle(self.network, self.attack.access | Access.LABEL)

    def craft(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return attacked images (B, C, H, W) for `x` with labels `y` (B,), or with the network's own answers."""
        x = x.detach()
        if self.threat.eps == 0 or not len(x):
            return x
        with self._unchanged(), torch.enable_grad():
            labels = self._oracle.labels(x) if y is None else y
            proposal = self.attack.craft(self._oracle, x.clone(), labels.clone(), self.threat)
        if proposal.shape != x.shape:
            raise RunFailed(
                f"`{type(self.attack).__name__}` returned images {tuple(proposal.shape)} for training; expected "
                f"{tuple(x.shape)}."
            )
        proposed = proposal.detach().to(x.dtype)
        finite = proposed.isfinite().flatten(1).all(dim=1).view(-1, *[1] * (x.dim() - 1))
        return self.threat.project(torch.where(finite, proposed, x), x)

    def __call__(self, batch: Batch) -> Batch:
        """Return a batch with attacked images in the place of its own."""
        if batch.x is None:
            raise RequestError(
                f"`{type(self.attack).__name__}` has nothing to attack, since this stage trains without images of the "
                f"data set: leave out the option `attack`."
            )
        return attrs.evolve(batch, x=self.craft(batch.x, batch.y), index=None)

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines the images besides the network; None if the source of the attack is unknown."""
        code = code_of(type(each).__module__ for each in (self.attack, *self.attack.parts()))
        if code is None:
            return None
        threat = f"{self.threat.norm} {self.threat.eps!r} {self.threat.bounds}"
        return {
            "attacked by": f"{self.attack!r}, {threat}, {self.mode}",
            **{f"code of {name}": digest for name, digest in code.items()},
        }

    @contextmanager
    def _unchanged(self) -> Iterator[None]:
        """Hold the network still: nothing that the attack does to it outlasts the attack."""
        kept = evaluating if self.mode == "eval" else buffers_kept
        with parameters_fixed(self.network), kept(self.network):
            yield

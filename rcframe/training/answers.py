"""What a teacher answers to the images a student learns on, asked once for images that come back as they were."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from rcframe.access import Access
from rcframe.errors import BudgetExceeded
from rcframe.training.randomness import seeded

if TYPE_CHECKING:
    from rcframe.data.images import Batch, Images
    from rcframe.evaluation.oracle import Answer, Oracle
    from rcframe.training.compute import Compute

#: Images per query where all are asked at once.
_ASKED = 256


class Answers:
    """A teacher's answers to batches of `images`. Added in API 1.4.

    Images that no augmentation or attack changed get the same answer in every epoch, so all of them are asked at once,
    when the first answer is needed, and never again. Changed images, and a teacher that answers differently every
    time, are asked batch by batch. It belongs into the `players` of the stage, so that a run that goes on does not
    count the same images twice.
    """

    def __init__(self, oracle: Oracle, images: Images, compute: Compute) -> None:
        self.oracle, self.images, self.compute = oracle, images, compute
        #: What was asked for all images already, and for how many of them by each process.
        self._shares: dict[str, list[int]] = {}
        self._tables: dict[str, Tensor] = {}
        self._last: tuple[Tensor, Answer] | None = None

    def logits(self, batch: Batch) -> Tensor:
        """Return the teacher's logits (B, classes) for a batch."""
        if self._known(batch):
            return self._looked_up("logits", batch)
        return self._asked(batch).logits

    def labels(self, batch: Batch) -> Tensor:
        """Return the labels (B,) of a batch, or the teacher's top answers where it has none."""
        if batch.y is not None:
            return batch.y
        if not self._known(batch):
            return self._asked(batch).labels
        return _top(self._looked_up(self._richest, batch))

    def state_dict(self) -> dict[str, object]:
        """Return what was asked already; answers that would be others when they are had again are kept themselves."""
        kept = {} if self.oracle.repeatable else {kind: table.cpu() for kind, table in self._tables.items()}
        return {"shares": dict(self._shares), "tables": kept}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Know what was asked already."""
        self._shares = dict(cast("Mapping[str, list[int]]", state["shares"]))
        kept = cast("Mapping[str, Tensor]", state["tables"])
        self._tables = {kind: table.to(self.compute.device) for kind, table in kept.items()}

    def _known(self, batch: Batch) -> bool:
        return batch.index is not None and self.oracle.repeatable

    def _asked(self, batch: Batch) -> Answer:
        """Ask for a batch, once even if several kinds of answers are wanted."""
        if self._last is None or self._last[0] is not batch.images:
            self._last = batch.images, self.oracle.query(batch.images)
        return self._last[1]

    def top(self) -> Tensor:
        """Return the teacher's top answers (N,) to all the images."""
        return _top(self._table(self._richest))

    @property
    def _richest(self) -> str:
        """What to ask for where labels are wanted, so that logits need not be asked for again."""
        return "logits" if Access.LOGITS in self.oracle.access else "labels"

    def _looked_up(self, kind: str, batch: Batch) -> Tensor:
        assert batch.index is not None
        return self._table(kind)[batch.index]

    def _table(self, kind: str) -> Tensor:
        if kind not in self._tables:
            # A run that goes on asks at another point of the stage: what is drawn for it must not shift what follows.
            with seeded(0, "answers", kind, self.compute.index):
                self._tables[kind] = self._everything(kind).to(self.compute.device)
        return self._tables[kind]

    def _everything(self, kind: str) -> Tensor:
        """Ask for all images, each process for its part, and return the answers (N, ...)."""
        again = kind in self._shares
        # Those who go on ask for the same parts: in other batches the answers would round otherwise.
        shares = self._shares[kind] if again else self._divided()
        query = self.oracle.query_again if again else self.oracle.query
        own = torch.split(torch.arange(len(self.images)), shares)[self.compute.index]
        parts = [self._part(kind, query, some) for some in torch.split(own, _ASKED) if len(some)]
        self._shares[kind] = shares
        return torch.cat([part for theirs in self.compute.gather(parts) for part in theirs])

    def _divided(self) -> list[int]:
        """Return for how many images each process asks; refuse to begin what the budget does not let end."""
        own = len(self.compute.part(len(self.images))), self.oracle.remaining
        parts, left = zip(*self.compute.gather(own), strict=True)
        free = [each for each in left if each is not None]
        if free and sum(free) < len(self.images):
            raise BudgetExceeded(
                f"The teacher is to answer for {len(self.images)} images, each of them once, but the query budget "
                f"leaves {sum(free)}. Start another run with a larger --budget, or with fewer images by the student's "
                f"option `fraction`; the teacher comes from the cache."
            )
        return within(parts, free) if free else list(parts)

    def _part(self, kind: str, query: Callable[[Tensor], Answer], places: Tensor) -> Tensor:
        answer = query(self.images.fetch(places).images.to(self.compute.device))
        return (answer.logits if kind == "logits" else answer.labels).cpu()


def within(parts: Sequence[int], free: Sequence[int]) -> list[int]:
    """Return `parts` where none is more than its process is `free` to ask; what it lacks, the first others take over.

    Together they are free to ask for all.
    """
    shares = [min(part, own) for part, own in zip(parts, free, strict=True)]
    missing = sum(parts) - sum(shares)
    for place, own in enumerate(free):
        more = min(missing, own - shares[place])
        shares[place] += more
        missing -= more
    return shares


def _top(answers: Tensor) -> Tensor:
    """Return the top answers (B,) of logits (B, classes), or of labels (B,)."""
    return answers.argmax(dim=1) if answers.dim() == 2 else answers

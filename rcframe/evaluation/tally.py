"""A measurement under way: which images were judged so far, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs
import torch
from torch import Tensor

from rcframe.evaluation.album import Album
from rcframe.evaluation.oracle import Queries
from rcframe.training.compute import Compute

_NOTHING = -1


@attrs.define(eq=False)
class Tally:
    """Counts which of `count` images are right; it can be kept and continued like a stage."""

    #: Unique within a run.
    name: str
    count: int
    #: What determines the judgements, or None where that cannot be told.
    determined_by: Mapping[str, str] | None
    compute: Compute = attrs.field(factory=Compute)
    queries: Queries = attrs.field(factory=Queries)
    #: Equal streams draw equal random numbers, whatever is measured.
    stream: str = ""
    #: Where the judged images themselves are kept, if any are.
    album: Album | None = None
    #: What this process judged: 1 for right, 0 for wrong, -1 for nothing; (count,) int8.
    _own: Tensor = attrs.field(init=False)
    #: Which images are done, by whichever process; (count,) bool.
    _done: Tensor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._own = torch.full((self.count,), _NOTHING, dtype=torch.int8)
        self._done = torch.zeros(self.count, dtype=torch.bool)

    def judged(self, start: int, end: int) -> bool:
        """Say whether the images from `start` to `end` are done."""
        return bool(self._done[start:end].all())

    def note(self, start: int, right: Tensor, images: Tensor | None = None) -> None:
        """Write down judgements (B,) of the images from `start` on, and what was judged (B, C, H, W)."""
        self._own[start : start + len(right)] = right.to("cpu", torch.int8)
        self._done[start : start + len(right)] = True
        if self.album is not None and images is not None:
            self.album.note(start, images)

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines the judgements."""
        return None if self.determined_by is None else {"name": self.name, **self.determined_by}

    def check(self) -> None:
        """Judgements are always worth keeping."""

    def state_dict(self) -> Mapping[str, object]:
        """Return all judgements, queries and pictures; where several processes measure together, all must ask."""
        # Shifted, so that images which a process did not judge add nothing.
        together = self.compute.total(self._own.to(torch.int64) - _NOTHING).cpu() + _NOTHING
        asked = torch.tensor(list(attrs.astuple(self.queries)))
        state: dict[str, object] = {"right": together.to(torch.int8), "queries": self.compute.total(asked).tolist()}
        if self.album is not None:
            state["pictures"] = self.compute.total(self.album.pictures.clone()).cpu()
        return state

    def final_state(self) -> Mapping[str, object]:
        """Return the same."""
        return self.state_dict()

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a saved state, which the main process counts as its own."""
        right = cast(Tensor, state["right"])
        self._done = right != _NOTHING
        self._own = right.clone() if self.compute.is_main else torch.full_like(right, _NOTHING)
        asked = cast("list[int]", state["queries"])
        self._count(asked if self.compute.is_main else [0] * len(asked))
        if self.album is not None and self.compute.is_main:
            self.album.pictures.copy_(cast(Tensor, state["pictures"]))

    def read(self) -> Tensor:
        """Return which images (count,) are right, the same in every process, with queries and pictures those of all."""
        state = self.state_dict()
        self._count(cast("list[int]", state["queries"]))
        if self.album is not None:
            self.album.pictures.copy_(cast(Tensor, state["pictures"]))
        right = cast(Tensor, state["right"])
        if bool((right == _NOTHING).any()):
            raise RuntimeError(f"`{self.name}` was read before it was done")
        return right.bool()

    def _count(self, asked: list[int]) -> None:
        self.queries.load_state_dict(dict(zip(attrs.asdict(self.queries), asked, strict=True)))

"""A measurement under way: which images were judged so far, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import attrs
import torch
from torch import Tensor

from rcframe.evaluation.album import Album
from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.verdict import Verdict
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
    faults: Faults = attrs.field(factory=Faults)
    #: Outputs of each image that are kept; 0 for none.
    classes: int = 0
    #: The predicted classes (count,), -1 where an output was no number: int16. Those of this process until it is read.
    answers: Tensor = attrs.field(init=False)
    #: How far images (count,) were moved that an attack broke, 0 for all others: float32.
    linf: Tensor = attrs.field(init=False)
    l2: Tensor = attrs.field(init=False)
    #: The outputs (count, classes): float32.
    logits: Tensor = attrs.field(init=False)
    #: What this process judged: 1 for right, 0 for wrong, -1 for nothing; (count,) int8.
    _own: Tensor = attrs.field(init=False)
    #: Which images are done, by whichever process; (count,) bool.
    _done: Tensor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._own = torch.full((self.count,), _NOTHING, dtype=torch.int8)
        self._done = torch.zeros(self.count, dtype=torch.bool)
        self._forget()

    def _forget(self) -> None:
        """Know nothing but judgements: what another process noted must not be added twice."""
        self.answers = torch.zeros(self.count, dtype=torch.int16)
        self.linf, self.l2 = torch.zeros(self.count), torch.zeros(self.count)
        self.logits = torch.zeros(self.count, self.classes)

    def judged(self, start: int, end: int) -> bool:
        """Say whether the images from `start` to `end` are done."""
        return bool(self._done[start:end].all())

    def note(self, start: int, verdict: Verdict) -> None:
        """Write down what was found of the images from `start` on."""
        place = slice(start, start + len(verdict.right))
        self._own[place] = verdict.right.to("cpu", torch.int8)
        self._done[place] = True
        if verdict.answers is not None:
            self.answers[place] = verdict.answers.to("cpu", torch.int16)
        if verdict.moved is not None:
            self.linf[place], self.l2[place] = verdict.moved.linf.cpu(), verdict.moved.l2.cpu()
        if self.classes and verdict.logits is not None:
            self.logits[place] = verdict.logits.to("cpu", torch.float32)
        if self.album is not None and verdict.judged is not None:
            self.album.note(start, verdict.judged)

    def identity(self) -> Mapping[str, str] | None:
        """Return what determines the judgements."""
        return None if self.determined_by is None else {"name": self.name, **self.determined_by}

    def check(self) -> None:
        """Judgements are always worth keeping."""

    def state_dict(self) -> Mapping[str, object]:
        """Return everything that was noted; where several processes measure together, all must ask."""
        # Shifted, so that images which a process did not judge add nothing.
        right = self._total(self._own.to(torch.int64) - _NOTHING) + _NOTHING
        state: dict[str, object] = {
            "right": right.to(torch.int8),
            "queries": self._total(torch.tensor(list(attrs.astuple(self.queries)))).tolist(),
            "faults": self._total(torch.tensor(list(attrs.astuple(self.faults)))).tolist(),
            "answers": self._total(self.answers.to(torch.int64)).to(torch.int16),
            "linf": self._total(self.linf),
            "l2": self._total(self.l2),
        }
        if self.classes:
            state["logits"] = self._total(self.logits)
        if self.album is not None:
            state["pictures"] = self._total(self.album.pictures)
        return state

    def _total(self, own: Tensor) -> Tensor:
        return self.compute.total(own.clone()).cpu()

    def final_state(self) -> Mapping[str, object]:
        """Return the same."""
        return self.state_dict()

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from a saved state, which the main process counts as its own."""
        right = cast(Tensor, state["right"])
        self._done = right != _NOTHING
        self._own = right.clone() if self.compute.is_main else torch.full_like(right, _NOTHING)
        if self.compute.is_main:
            self._take(state)
        else:
            self._forget()
            self.queries.load_state_dict(attrs.asdict(Queries()))
            self.faults.load_state_dict(attrs.asdict(Faults()))

    def _take(self, state: Mapping[str, object]) -> None:
        """Know what a state says, besides the judgements."""
        for counts, name in ((self.queries, "queries"), (self.faults, "faults")):
            counts.load_state_dict(dict(zip(attrs.asdict(counts), cast("list[int]", state[name]), strict=True)))
        self.answers = cast(Tensor, state["answers"]).clone()
        self.linf, self.l2 = cast(Tensor, state["linf"]).clone(), cast(Tensor, state["l2"]).clone()
        if self.classes:
            # Older states kept none: these are no numbers, and nobody takes them for answers.
            nothing = torch.full_like(self.logits, torch.nan)
            self.logits = cast(Tensor, state.get("logits", nothing)).clone()
        if self.album is not None:
            self.album.pictures.copy_(cast(Tensor, state["pictures"]))

    def read(self) -> Tensor:
        """Return which images (count,) are right; this and all that was noted is then the same in every process."""
        state = self.state_dict()
        self._take(state)
        right = cast(Tensor, state["right"])
        if bool((right == _NOTHING).any()):
            raise RuntimeError(f"`{self.name}` was read before it was done")
        return right.bool()

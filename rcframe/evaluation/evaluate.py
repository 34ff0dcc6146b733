"""How good a model is: clean, attacked and certified accuracy, counted exactly, with the model left as it was."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import attrs
import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack, Certifier
from rcframe.data.images import Images, check_pixels
from rcframe.errors import RunFailed
from rcframe.evaluation.album import Album, evenly
from rcframe.evaluation.crafting import attack_batch, certify_batch
from rcframe.evaluation.oracle import Release
from rcframe.evaluation.tally import Tally
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.verdict import Moved, Verdict
from rcframe.networks.modes import evaluating
from rcframe.storage.keeper import Keeper
from rcframe.training.compute import Compute
from rcframe.training.memory import free_memory, out_of_memory
from rcframe.training.randomness import seeded

#: Images per batch when predicting or attacking, and when certifying, which needs far more memory per image.
PREDICT_BATCH = 256
CERTIFY_BATCH = 32
#: A margin must exceed this fraction of the largest one (or of 1) to count: float32 sums are not exact.
_MARGIN_SLACK = 1e-5
_Z95 = 1.959963984540054


@attrs.frozen
class Accuracy:
    """How many of `n` images are right, with the 95% Wilson interval of the fraction."""

    correct: int
    n: int

    @property
    def value(self) -> float:
        """The fraction that is right."""
        return self.correct / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% Wilson interval (low, high) of the fraction."""
        if not self.n:
            return 0.0, 1.0
        p, n, z = self.value, self.n, _Z95
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))

    @classmethod
    def of(cls, right: Tensor) -> Accuracy:
        """Count a boolean vector (n,)."""
        return cls(int(right.sum()), right.numel())


def commonest(classes: Tensor) -> Accuracy:
    """Return how often the commonest of some classes (n,) stands there: what answering it blindly gets right.

    What is no class (-1) is never the commonest.
    """
    known = classes[classes >= 0].long()
    return Accuracy(int(known.bincount().max()) if len(known) else 0, classes.numel())


@torch.no_grad()
def predict(module: nn.Module, x: Tensor) -> Tensor:
    """Return the predicted classes (B,) of `x` (B, C, H, W) in evaluation mode; -1 where an output is no number."""
    with evaluating(module):
        outputs: Tensor = module(x)
    return named(outputs)


def named(outputs: Tensor) -> Tensor:
    """Return the classes (B,) that outputs (B, classes) name; -1 where one of these is no number."""
    return outputs.argmax(dim=1).masked_fill(outputs.isnan().any(dim=1), -1)


def certified(margins: Tensor, y: Tensor) -> Tensor:
    """Return which rows (B,) of margins (B, classes) prove their label: every other class stays clearly below.

    Anything that is not a number proves nothing.
    """
    others = torch.ones_like(margins, dtype=torch.bool).scatter_(1, y.unsqueeze(1), False)
    slack = _MARGIN_SLACK * margins.detach().abs().amax(dim=1, keepdim=True).clamp_min(1.0)
    return ((margins > slack) | ~others).all(dim=1)


def spread(images: Images, count: int) -> Tensor:
    """Return `count` places (count,), spread evenly over a set, which may be sorted by class."""
    return evenly(len(images), count)


def only_asks(attack: Attack, source: nn.Module | None = None) -> bool:
    """Say whether an attack asks the attacked model for answers and looks no further."""
    return source is None and not attack.access & (Access.INPUT_GRAD | Access.PARAMS)


#: Judges images (B, C, H, W) with labels (B,).
Judge = Callable[[Tensor, Tensor], Verdict]


@attrs.frozen(kw_only=True)
class Evaluator:
    """Measures models on `count` test images, shared among the processes of `compute`."""

    images: Images
    count: int
    seed: int = 0
    compute: Compute = attrs.field(factory=Compute)
    keeper: Keeper = attrs.field(factory=Keeper)
    #: What defends the measured model in its answers; attacks that only ask meet it, those with gradients do not.
    release: Release | None = None
    #: Told how many further images are done.
    progress: Callable[[int], None] = lambda images: None
    #: Told what the user should know.
    say: Callable[[str], None] = lambda text: None

    def unseen(self, classes: Sequence[str]) -> tuple[str, ...]:
        """Name the classes that none of the images has."""
        labels = self.images.labels
        seen = set() if labels is None else set(labels[spread(self.images, self.count)].tolist())
        return tuple(name for label, name in enumerate(classes) if label not in seen)

    def clean(self, module: nn.Module, tally: Tally | None = None) -> Tensor:
        """Return which images (n,) the model gets right."""

        return self._answered(module, module, tally or self.tally("clean"))

    def released(self, module: nn.Module, release: Release, tally: Tally | None = None) -> Tensor:
        """Return which images (n,) are right in what leaves in the place of the model's answers."""

        def answer(x: Tensor) -> Tensor:
            # Drawn from the batch's own seed: the same in any number of processes, and when a run goes on.
            query = int(torch.randint(2**31, ()))
            return release(module(x), x, query)

        return self._answered(answer, module, tally or self.tally("released"))

    def _answered(self, answer: Callable[[Tensor], Tensor], module: nn.Module, tally: Tally) -> Tensor:
        """Return which images (n,) are right in the answers (B, classes), which are kept if the tally keeps any."""

        def judge(x: Tensor, y: Tensor) -> Verdict:
            check_pixels(x, "The test images")
            with torch.no_grad(), evaluating(module):
                outputs = answer(x)
            answers = named(outputs)
            return Verdict(answers == y, answers, logits=outputs)

        return self.collect(judge, PREDICT_BATCH, tally)

    def attacked(
        self,
        module: nn.Module,
        attack: Attack,
        threat: Threat,
        tally: Tally | None = None,
        source: nn.Module | None = None,
    ) -> Tensor:
        """Return which attacked images (n,) the model still gets right, by the kernel's own prediction on them.

        Only those that it gets right are attacked: the others are broken as they are. They are crafted on `source`
        where one is given, else on the model itself.
        """
        used = tally or self.tally(type(attack).__name__)
        release = self.release if only_asks(attack, source) else None

        def judge(x: Tensor, y: Tensor) -> Verdict:
            answers, x_adv = predict(module, x), x.clone()
            here = (answers == y).nonzero().squeeze(1)
            if len(here):
                x_adv[here] = attack_batch(
                    attack,
                    module,
                    x[here],
                    y[here],
                    threat,
                    used.queries,
                    source=source,
                    faults=used.faults,
                    release=release,
                )
                answers[here] = predict(module, x_adv[here])
            return Verdict(answers == y, answers, x_adv, Moved.of(x_adv, x, answers != y))

        return self.collect(judge, PREDICT_BATCH, used)

    def certified(self, module: nn.Module, certifier: Certifier, threat: Threat, tally: Tally | None = None) -> Tensor:
        """Return which images (n,) are proved right everywhere within the threat."""

        def judge(x: Tensor, y: Tensor) -> Verdict:
            with torch.no_grad():
                return Verdict(certified(certify_batch(certifier, module, x, y, threat), y))

        return self.collect(judge, CERTIFY_BATCH, tally or self.tally(type(certifier).__name__))

    def part(self, which: Tensor) -> Evaluator:
        """Return an evaluator of some (B,) of these images that keeps nothing and is silent about its progress."""
        images = self.images.subset(spread(self.images, self.count)[which])
        return attrs.evolve(self, images=images, count=len(which), keeper=Keeper(), progress=lambda images: None)

    def tally(
        self,
        name: str,
        *,
        stream: str | None = None,
        determined_by: Mapping[str, str] | None = None,
        album: Album | None = None,
        classes: int = 0,
    ) -> Tally:
        """Return an empty tally for these images, which keeps so many outputs of each."""
        return Tally(
            name,
            self.count,
            determined_by,
            self.compute,
            stream=name if stream is None else stream,
            album=album,
            classes=classes,
        )

    def collect(self, judge: Judge, size: int, tally: Tally) -> Tensor:
        """Judge all images, `size` at a time; process i of n takes every n-th batch, starting with the i-th."""
        places = spread(self.images, self.count)
        piece = size
        with self.keeper.keeping(tally) as finished:
            if finished:
                self.progress(self.count)
            for first in [] if finished else range(0, self.count, size * self.compute.count):
                start = first + size * self.compute.index
                end = min(start + size, self.count)
                if start < end and not tally.judged(start, end):
                    piece = self._judge(judge, places, start, end, piece, tally)
                self.progress(min(size * self.compute.count, self.count - first))
                self.keeper.progressed(tally)
        return tally.read()

    def _judge(self, judge: Judge, places: Tensor, start: int, end: int, piece: int, tally: Tally) -> int:
        """Judge the images from `start` to `end` in pieces that fit into memory; return how large those are."""
        while start < end:
            index = places[start : min(start + piece, end)]
            before = tally.queries.state_dict(), tally.faults.state_dict()
            try:
                # Of their own seed, so that neither the batches before nor the process decide the random numbers.
                with seeded(self.seed, "measure", tally.stream, start):
                    batch = self.images.fetch(index)
                    verdict = judge(batch.images.to(self.compute.device), batch.labels.to(self.compute.device))
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if len(index) == 1:
                    raise RunFailed(
                        f"There is no memory to measure `{tally.name}` on even one image. Free some, "
                        f"choose a smaller model, or leave this measurement out."
                    ) from error
                tally.queries.load_state_dict(before[0])
                tally.faults.load_state_dict(before[1])
                piece = len(index) // 2
                free_memory()
                self.say(f"Out of memory on {len(index)} images: `{tally.name}` goes on with {piece} at a time.")
                continue
            tally.note(start, verdict)
            start += len(index)
        return piece


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Say everything only once: each batch may run out of memory."""
    said: set[str] = set()

    def say_new(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return say_new

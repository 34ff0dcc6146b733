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
from rcframe.errors import RequestError, RunFailed
from rcframe.evaluation.album import Album, evenly
from rcframe.evaluation.oracle import ModelOracle, Queries
from rcframe.evaluation.tally import Tally
from rcframe.evaluation.threat import Threat
from rcframe.networks.modes import evaluating, parameters_fixed
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


@torch.no_grad()
def predict(module: nn.Module, x: Tensor) -> Tensor:
    """Return the predicted classes (B,) of `x` (B, C, H, W) in evaluation mode; -1 where an output is no number."""
    with evaluating(module):
        outputs: Tensor = module(x)
    return outputs.argmax(dim=1).masked_fill(outputs.isnan().any(dim=1), -1)


def attack_batch(
    attack: Attack, model: nn.Module, x: Tensor, y: Tensor, threat: Threat, queries: Queries | None = None
) -> Tensor:
    """Return adversarial images (B, C, H, W) for `model`: crafted by `attack`, projected into the threat.

    The model comes back exactly as it was: modes, gradients, batch statistics. `queries` collects what was asked.
    """
    x, y = _checked(x.detach(), y, "The images to attack")
    if threat.norm not in attack.norms:
        raise RequestError(f"`{_name(attack)}` works in {' and '.join(attack.norms)}, not in {threat.norm}.")
    if threat.eps == 0:
        return x.clone()
    oracle = ModelOracle(model, attack.access | Access.LABEL)
    if queries is not None:
        oracle.queries = queries
    with evaluating(model), parameters_fixed(model), torch.inference_mode(False), torch.enable_grad():
        # Copies, so that an attack that works in place cannot move the centre of its own ball.
        try:
            proposal: object = attack.craft(oracle, x.clone(), y.clone(), threat)
        except (IndexError, RuntimeError) as error:
            if not out_of_memory(error):
                _check_classes(y, model(x).shape[1])
            raise
    return threat.project(_proposed(proposal, x, _name(attack)).to(x.dtype), x)


def _proposed(proposal: object, x: Tensor, attack: str) -> Tensor:
    """Refuse what is no batch of finite images in the shape of `x`."""
    if not isinstance(proposal, Tensor):
        raise RunFailed(
            f"`{attack}` returned a {type(proposal).__name__} from `craft`; expected images {tuple(x.shape)}."
        )
    if proposal.shape != x.shape:
        raise RunFailed(f"`{attack}` returned images {tuple(proposal.shape)}; expected {tuple(x.shape)}.")
    if not bool(torch.isfinite(proposal).all()):
        raise RunFailed(f"`{attack}` returned images with values that are not finite.")
    return proposal.detach()


def certify_batch(certifier: Certifier, model: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """Return lower bounds (B, classes) on the margins of `model` in evaluation mode, own column 0."""
    x, y = _checked(x, y, "The images to certify")
    if threat.norm not in certifier.norms:
        raise RequestError(f"`{_name(certifier)}` certifies {' and '.join(certifier.norms)}, not {threat.norm}.")
    if reason := certifier.unsupported(model):
        raise RequestError(f"`{_name(certifier)}` cannot certify this model: {reason}.")
    with evaluating(model):
        try:
            margins = certifier.margins(model, x, y, threat)
        except (IndexError, RuntimeError) as error:
            if not out_of_memory(error):
                _check_classes(y, model(x).shape[1])
            raise
    if margins.dim() != 2 or len(margins) != len(x):
        raise RunFailed(f"`{_name(certifier)}` returned margins {tuple(margins.shape)} for {len(x)} images.")
    return margins


def _checked(x: Tensor, y: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """Refuse images and labels that do not belong together; labels (B,) come back as int64."""
    check_pixels(x, what)
    if y.shape != x.shape[:1] or y.is_floating_point() or y.dtype == torch.bool:
        raise RequestError(
            f"{what} come with labels {tuple(y.shape)} of {y.dtype}, but each of the {len(x)} images needs one whole "
            f"number: pass labels ({len(x)},) of int64."
        )
    if len(y) and int(y.min()) < 0:
        raise RequestError(f"{what} come with label {int(y.min())}, but classes are counted from 0.")
    return x, y.long()


def _check_classes(y: Tensor, classes: int) -> None:
    if len(y) and int(y.max()) >= classes:
        raise RequestError(f"There is a label {int(y.max())}, but the model has {classes} classes, counted from 0.")


def certified(margins: Tensor, y: Tensor) -> Tensor:
    """Return which rows (B,) of margins (B, classes) prove their label: every other class stays clearly below.

    Anything that is not a number proves nothing.
    """
    others = torch.ones_like(margins, dtype=torch.bool).scatter_(1, y.unsqueeze(1), False)
    slack = _MARGIN_SLACK * margins.detach().abs().amax(dim=1, keepdim=True).clamp_min(1.0)
    return ((margins > slack) | ~others).all(dim=1)


def _name(component: object) -> str:
    return type(component).__name__


def spread(images: Images, count: int) -> Tensor:
    """Return `count` places (count,), spread evenly over a set, which may be sorted by class."""
    return evenly(len(images), count)


@attrs.frozen(eq=False)
class Verdict:
    """Which images (B,) are right, and what was judged (B, C, H, W) if that is not the images themselves."""

    right: Tensor
    judged: Tensor | None = None


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
        return self._collect(lambda x, y: Verdict(predict(module, x) == y), PREDICT_BATCH, tally or self.tally("clean"))

    def attacked(self, module: nn.Module, attack: Attack, threat: Threat, tally: Tally | None = None) -> Tensor:
        """Return which attacked images (n,) the model still gets right, by the kernel's own prediction on them."""
        used = tally or self.tally(_name(attack))

        def judge(x: Tensor, y: Tensor) -> Verdict:
            x_adv = attack_batch(attack, module, x, y, threat, used.queries)
            return Verdict(predict(module, x_adv) == y, x_adv)

        return self._collect(judge, PREDICT_BATCH, used)

    def certified(self, module: nn.Module, certifier: Certifier, threat: Threat, tally: Tally | None = None) -> Tensor:
        """Return which images (n,) are proved right everywhere within the threat."""

        def judge(x: Tensor, y: Tensor) -> Verdict:
            with torch.no_grad():
                return Verdict(certified(certify_batch(certifier, module, x, y, threat), y))

        return self._collect(judge, CERTIFY_BATCH, tally or self.tally(_name(certifier)))

    def tally(
        self,
        name: str,
        *,
        stream: str | None = None,
        determined_by: Mapping[str, str] | None = None,
        album: Album | None = None,
    ) -> Tally:
        """Return an empty tally for these images."""
        return Tally(
            name, self.count, determined_by, self.compute, stream=name if stream is None else stream, album=album
        )

    def _collect(self, judge: Judge, size: int, tally: Tally) -> Tensor:
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
            before = attrs.astuple(tally.queries)
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
                tally.queries.images, tally.queries.gradient_images, tally.queries.calls = before
                piece = len(index) // 2
                free_memory()
                self.say(f"Out of memory on {len(index)} images: `{tally.name}` goes on with {piece} at a time.")
                continue
            tally.note(start, verdict.right, verdict.judged)
            start += len(index)
        return piece

"""Measuring at many radii: an attack or a certifier is asked only where the answer is not known yet."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
from torch import Tensor, nn

from rcframe.api import Attack, Certifier, Norm
from rcframe.evaluation.evaluate import CERTIFY_BATCH, PREDICT_BATCH, Evaluator, once, predict
from rcframe.evaluation.ladder import Ladder
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.tally import Tally
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.verdict import Verdict
from rcframe.networks.modes import evaluating, parameters_fixed

#: Says which of the images of an evaluator are right within a threat.
Ask = Callable[[Evaluator, Threat, Tally], Tensor]


@attrs.frozen(kw_only=True)
class Climber:
    """Finds the smallest radius that breaks each image of an evaluator."""

    evaluator: Evaluator
    module: nn.Module
    norm: Norm

    def attacked(self, attack: Attack, ladder: Ladder, source: nn.Module | None = None) -> Tensor:
        """Return the rung (n,) on which the attack breaks each image first."""

        def ask(part: Evaluator, threat: Threat, tally: Tally) -> Tensor:
            return part.attacked(self.module, attack, threat, tally, source)

        return self._climb(ladder, ask, PREDICT_BATCH, guided=True)

    def certified(self, certifier: Certifier, ladder: Ladder) -> Tensor:
        """Return the rung (n,) on which each image is no longer proved."""

        def ask(part: Evaluator, threat: Threat, tally: Tally) -> Tensor:
            return part.certified(self.module, certifier, threat, tally)

        return self._climb(ladder, ask, CERTIFY_BATCH, guided=False)

    def _climb(self, ladder: Ladder, ask: Ask, size: int, *, guided: bool) -> Tensor:
        whole = attrs.evolve(self.evaluator, say=once(self.evaluator.say))
        with whole.keeper.keeping(ladder) as finished:
            whole.progress(whole.count if finished else ladder.done)
            if guided and not finished and len(ladder.unguided):
                self._guide(ladder)
            while not finished and (step := ladder.next(size * whole.compute.count)):
                (rung, which), before = step, ladder.done
                radius = ladder.points[rung - 1]
                part = whole.part(which)
                tally = part.tally(ladder.name, stream=f"{ladder.stream} at {radius!r}")
                right = ask(part, Threat(radius, self.norm), tally)
                moved = (tally.linf if self.norm == "linf" else tally.l2) if guided else None
                ladder.note(rung, which, right, tally, moved)
                _add(ladder, tally)
                whole.progress(ladder.done - before)
                whole.keeper.progressed(ladder)
        return ladder.breaks

    def _guide(self, ladder: Ladder) -> None:
        which = ladder.unguided
        part = self.evaluator.part(which)
        tally = part.tally(ladder.name)

        def judge(x: Tensor, y: Tensor) -> Verdict:
            guess = likely_rungs(self.module, x, y, ladder.points, self.norm, tally.queries)
            return Verdict(guess > 0, guess)

        part.collect(judge, PREDICT_BATCH, tally)
        ladder.guide(which, tally.answers)
        _add(ladder, tally)


def _add(ladder: Ladder, tally: Tally) -> None:
    for total, new in ((ladder.queries, tally.queries), (ladder.faults, tally.faults)):
        for name, count in attrs.asdict(new).items():
            setattr(total, name, getattr(total, name) + count)


def likely_rungs(
    module: nn.Module, x: Tensor, y: Tensor, points: tuple[float, ...], norm: Norm, queries: Queries
) -> Tensor:
    """Return the rung (B,) at which a step along the gradient of the margin errs first, 0 where none does.

    It only says where to begin, so it may be wrong: a network whose gradient leads nowhere is searched without it.
    """
    with evaluating(module), parameters_fixed(module), torch.enable_grad():
        moving = x.detach().clone().requires_grad_(True)
        logits = module(moving)
        queries.images += len(x)
        if not logits.requires_grad:
            return torch.zeros(len(x), dtype=torch.int64, device=x.device)
        own = logits.gather(1, y.unsqueeze(1)).squeeze(1)
        others = logits.scatter(1, y.unsqueeze(1), float("-inf")).amax(dim=1)
        (gradient,) = torch.autograd.grad((others - own).sum(), moving)
        queries.gradient_images += len(x)
    direction = gradient.sign() if norm == "linf" else torch.nn.functional.normalize(gradient.flatten(1)).view_as(x)
    grid = torch.tensor((0.0, *points), device=x.device, dtype=x.dtype)
    low, high = torch.zeros_like(y), torch.full_like(y, len(grid))
    middle = torch.full_like(y, len(points))
    for _ in range(len(grid).bit_length() + 1):
        away = grid[middle].view(-1, *[1] * (x.dim() - 1))
        wrong = predict(module, (x + away * direction).clamp(0, 1)) != y
        queries.images += len(x)
        high, low = torch.where(wrong, middle, high), torch.where(wrong, low, middle)
        middle = ((low + high) // 2).clamp(max=len(points))
    return torch.where(high < len(grid), high, 0)

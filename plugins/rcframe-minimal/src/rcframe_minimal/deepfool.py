"""DeepFool (Moosavi-Dezfooli et al., 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from rcframe import Access, Attack, Norm, Oracle, Threat, at_least, changed, component, option
from rcframe_minimal.margins import per_image

#: Added to the distance of every step, in pixels, so that none ends exactly on a boundary; from the authors' code.
_BEYOND = 1e-4
#: Keeps steps finite where a gradient is 0.
_TINY = 1e-8


@component
class DeepFool(Attack):
    """Steps onto the nearest boundary of the network as it is linearised at each point, until the class changes.

    Moosavi-Dezfooli, Fawzi, Frossard: "DeepFool: a simple and accurate method to fool deep neural networks" (CVPR
    2016). Untargeted, true labels; deterministic. As in the authors' code every point is overshot before it is judged,
    not only the last. The result is the first misclassified image met; where there is none, the image as it was.
    """

    steps: int = option(default=50, help="The most steps per image.", check=at_least(1))
    candidates: int = option(
        default=10, help="Classes considered, the most likely ones, the image's own included.", check=at_least(2)
    )
    overshoot: float = option(
        default=0.02, help="By which fraction of the way to go on beyond the boundary.", check=at_least(0)
    )

    access = Access.LOGITS | Access.INPUT_GRAD
    norms = ("linf", "l2")
    nearest = True

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return the first misclassified image on the way from each of `x`, whatever its distance."""
        found, left = x.clone(), torch.arange(len(x), device=x.device)
        moved, way = x, torch.zeros_like(x)
        logits = source.logits(x)
        rivals = rivals_of(logits, y, self.candidates)
        for step in range(self.steps + 1):
            right = logits.argmax(dim=1) == y[left]
            found[left[~right]] = moved[~right]
            left, moved, way = left[right], moved[right], way[right]
            if step == self.steps or not len(left):
                break
            way = way + step_to_boundary(source, moved, y[left], rivals[left], threat.norm)
            moved = (x[left] + (1 + self.overshoot) * way).clamp(*threat.bounds)
            # Without gradients, which a broken image does not need: there is one per candidate, and this is one pass.
            logits = source.logits(moved)
        return found

    def stronger(self) -> DeepFool:
        """Return it with twice the steps and candidates."""
        more = {"steps": 2 * self.steps, "candidates": 2 * self.candidates}
        return changed(self, **more)


def rivals_of(logits: Tensor, y: Tensor, candidates: int) -> Tensor:
    """Return the most likely classes (B, candidates - 1) other than `y` (B,), or all others if there are fewer."""
    others = logits.scatter(1, y.unsqueeze(1), float("-inf"))
    return others.topk(min(candidates, logits.shape[1]) - 1, dim=1).indices


def step_to_boundary(source: Oracle, x: Tensor, y: Tensor, rivals: Tensor, norm: Norm) -> Tensor:
    """Return the shortest step (B, C, H, W) to a boundary of the linearised network with one of `rivals` (B, K).

    The boundary with class k lies at distance |z_k - z_y| / ||w_k||, where w_k is the gradient of z_k - z_y and the
    norm is dual to that of the step.
    """
    x = x.detach().requires_grad_(True)
    logits = source.logits(x)
    gaps = logits.gather(1, rivals) - logits.gather(1, y.unsqueeze(1))
    distance, normal = torch.full_like(gaps[:, 0], float("inf")), torch.zeros_like(x)
    for rival in range(gaps.shape[1]):
        more = rival + 1 < gaps.shape[1]
        (w,) = torch.autograd.grad(gaps[:, rival].sum(), x, retain_graph=more)
        away = gaps[:, rival].detach().abs() / (_dual_length(w, norm) + _TINY)
        nearer = away < distance
        distance, normal = torch.where(nearer, away, distance), torch.where(per_image(nearer, x), w, normal)
    direction = normal.sign() if norm == "linf" else normal / per_image(_dual_length(normal, "l2") + _TINY, x)
    return per_image(distance + _BEYOND, x) * direction


def _dual_length(w: Tensor, norm: Norm) -> Tensor:
    """Return the length (B,) of gradients in the norm that is dual to `norm`."""
    flat = w.flatten(1)
    return flat.abs().sum(dim=1) if norm == "linf" else flat.norm(dim=1)

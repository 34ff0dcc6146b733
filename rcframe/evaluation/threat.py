"""The threat that attacks and certificates share: a norm ball around each image, intersected with the pixel range."""

from __future__ import annotations

from typing import get_args

import attrs
import torch
from torch import Tensor

from rcframe.api import Norm
from rcframe.errors import RequestError
from rcframe.options import Number


def _eps(value: float | str) -> float:
    return value if isinstance(value, Number) else Number(value)


@attrs.frozen
class Threat:
    """All images within `eps` of the original in `norm`, with pixels inside `bounds`."""

    eps: float = attrs.field(converter=_eps)
    norm: Norm = "linf"
    bounds: tuple[float, float] = (0.0, 1.0)

    def project(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return the images (B, C, H, W) moved into the ball around `x`, then into the pixel range.

        The original is inside the pixel range, so clipping after the ball never leaves the ball.
        """
        if self.norm == "linf":
            moved = torch.minimum(torch.maximum(x_adv, x - self.eps), x + self.eps)
        else:
            step = x_adv - x
            length = step.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, *[1] * (x.dim() - 1))
            moved = x + step * (self.eps / length).clamp_max(1.0)
        return moved.clamp(*self.bounds)

    def distance(self, x_adv: Tensor, x: Tensor) -> Tensor:
        """Return how far each image (B,) is from its original in the threat's norm."""
        step = (x_adv - x).flatten(1)
        return step.abs().amax(dim=1) if self.norm == "linf" else step.norm(dim=1)

    def steepest(self, gradient: Tensor) -> Tensor:
        """Return the unit steps (B, C, H, W) along which a linear function rises most; 0 where the gradient is 0.

        Added in API 1.4.
        """
        if self.norm == "linf":
            return gradient.sign()
        length: Tensor = torch.linalg.vector_norm(gradient.flatten(1), dim=1).clamp_min(1e-12)
        return gradient / length.view(-1, *[1] * (gradient.dim() - 1))

    def random_point(self, x: Tensor) -> Tensor:
        """Return points (B, C, H, W) drawn uniformly from the balls around `x`, pixel range aside. Added in API 1.4."""
        if self.norm == "linf":
            return x + torch.empty_like(x).uniform_(-self.eps, self.eps)
        direction = self.steepest(torch.randn_like(x))
        radius = torch.rand(len(x), device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
        return x + self.eps * radius.view(-1, *[1] * (x.dim() - 1)) * direction


def make_threat(eps: float | str | None, norm: str) -> Threat:
    """Build a threat from user input, refusing what makes no sense."""
    if eps is None:
        raise RequestError("No eps was given. Pass the radius in pixels of [0, 1], for example eps=8/255.")
    if norm not in get_args(Norm):
        raise RequestError(f"No norm `{norm}`. Norms: {', '.join(get_args(Norm))}.")
    try:
        threat = Threat(eps, norm)  # type: ignore[arg-type]  # checked above
    except (ValueError, ZeroDivisionError):
        raise RequestError(f"eps is {eps!r}, but it must be a number in pixels, such as 0.03 or 8/255.") from None
    if threat.eps < 0:
        raise RequestError(f"eps is {eps}, but a radius cannot be negative.")
    if norm == "linf" and threat.eps > 1:
        raise RequestError(f"eps is {eps}, but pixels lie in [0, 1]: write {threat.eps:g}/255 if you meant 0..255.")
    return threat

"""The certifier `convex`."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from rcframe import Certifier, RequestError, Threat, at_least, component, option
from rcframe_convex.blocks import Block
from rcframe_convex.bounds import Ball, margin_bounds
from rcframe_convex.network import Network, read, steps_of
from rcframe_convex.steps import Unsupported

_MEGABYTE = 2**20


@component
class Convex(Certifier):
    """Lower bounds on margins by the dual of the convex outer adversarial polytope.

    Wong & Kolter, "Provable Defenses against Adversarial Examples via the Convex Outer Adversarial Polytope" (ICML
    2018), Theorem 1 and Algorithm 1, without random projections: every bound is exact for the relaxation. The network
    is always the one of evaluation mode, also while it is trained on these margins.
    """

    differentiable = True
    norms = ("linf", "l2")

    bounded: bool = option(
        default=False, help="Cover only the part of the ball inside the pixel range, instead of the whole ball."
    )
    memory: int = option(
        default=32, help="Megabytes of coefficients held at once; a few times as much is used.", check=at_least(1)
    )

    def unsupported(self, module: nn.Module) -> str | None:
        """Say which layer is neither affine in evaluation mode nor a ReLU, or where the network branches."""
        try:
            steps_of(module)
        except Unsupported as error:
            return str(error)
        return None

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return lower bounds (B, classes) on z_y - z_j for images `x` (B, C, H, W); parameters get gradients."""
        network = network_of(module, x)
        bounds = threat.bounds if self.bounded else None
        return self.ball_margins(network, Ball(x, x.new_full((len(x),), threat.eps), threat.norm, bounds), y)

    def ball_margins(self, network: Network, ball: Ball, y: Tensor) -> Tensor:
        """Return the same for a network already read and a ball of its own radius around each image."""
        if not len(y):
            return ball.x.new_zeros(0, network.classes)
        block = Block.within(network, self.memory * _MEGABYTE // ball.x.element_size())
        parts = [slice(start, start + block.examples) for start in range(0, len(y), block.examples)]

        def margins_of(part: slice) -> Tensor:
            return margin_bounds(network, ball.part(part), y[part], block.channels)

        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([margins_of(part) for part in parts])
        # Keeping the coefficients of all blocks for the backward pass would defeat the blocks.
        return torch.cat([checkpoint(margins_of, part, use_reentrant=False) for part in parts])


def network_of(module: nn.Module, x: Tensor) -> Network:
    """Read a network for images `x` (B, C, H, W), or refuse with the layer that cannot be certified."""
    try:
        return read(module, x)
    except Unsupported as error:
        raise RequestError(f"`convex` cannot certify this network: {error}.") from None

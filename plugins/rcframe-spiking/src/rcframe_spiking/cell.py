"""Leaky integrate-and-fire neurons, one function per published order of leak, input, spike and reset.

With membrane u, input current I, leak lam, threshold th and spike s, one time step is

    A  talk         u[t] = lam u[t-1] + I[t] - th s[t-1];   s[t] = u[t] > th
    B  fire-first   s[t] = u[t-1] > th;   u[t] = lam u[t-1] + I[t] - th s[t]
    C  immediate    v = lam u[t-1] + I[t];   s[t] = v > th;   u[t] = v - th s[t]
    D  hard         v = lam u[t-1] + I[t];   s[t] = v > th;   u[t] = 0 where s[t], else v

The spike in a reset is a constant, yet the threshold it is multiplied with is not: th learns from the reset too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from rcframe_spiking.surrogate import Trigger, bounded

Order = Literal["talk", "fire-first", "immediate", "hard"]

#: Maps (u[t-1], I[t], lam, th, trigger) to (s[t], u[t]); u, I and s have the shape (B, ...).
Dynamics = Callable[[Tensor, Tensor, Tensor, Tensor, Trigger], tuple[Tensor, Tensor]]

#: A threshold is never below this, so that u/th stays finite.
LOWEST_THRESHOLD = 1e-3


def talk(u: Tensor, current: Tensor, lam: Tensor, th: Tensor, trigger: Trigger) -> tuple[Tensor, Tensor]:
    """Order A: the reset comes one step late, and the leak acts on the membrane before it."""
    u = lam * u + current - th * trigger.fires(u, th).to(u.dtype)
    return trigger(u, th), u


def fire_first(u: Tensor, current: Tensor, lam: Tensor, th: Tensor, trigger: Trigger) -> tuple[Tensor, Tensor]:
    """Order B: the spike answers to the step before, so each layer delays by one step."""
    spikes = trigger(u, th)
    return spikes, lam * u + current - th * spikes.detach()


def immediate(u: Tensor, current: Tensor, lam: Tensor, th: Tensor, trigger: Trigger) -> tuple[Tensor, Tensor]:
    """Order C: spike and reset follow the input at once; the leak acts on what is left."""
    u = lam * u + current
    spikes = trigger(u, th)
    return spikes, u - th * spikes.detach()


def hard(u: Tensor, current: Tensor, lam: Tensor, th: Tensor, trigger: Trigger) -> tuple[Tensor, Tensor]:
    """Order D: as C, but a spike empties the membrane and the overshoot is lost."""
    u = lam * u + current
    spikes = trigger(u, th)
    return spikes, u.masked_fill(trigger.fires(u, th), 0.0)


DYNAMICS: dict[Order, Dynamics] = {"talk": talk, "fire-first": fire_first, "immediate": immediate, "hard": hard}


class LIFCell(nn.Module):
    """One layer of neurons with one threshold and one leak, learned or fixed."""

    threshold: Tensor
    leak: Tensor

    def __init__(
        self, dynamics: Dynamics, trigger: Trigger, threshold: float, leak: float, *, learn: bool, decay_input: bool
    ) -> None:
        super().__init__()
        self.dynamics, self.trigger, self.decay_input = dynamics, trigger, decay_input
        for name, start in (("threshold", threshold), ("leak", leak)):
            if learn:
                self.register_parameter(name, nn.Parameter(torch.tensor(float(start))))
            else:
                self.register_buffer(name, torch.tensor(float(start)))

    def constants(self) -> tuple[Tensor, Tensor]:
        """Return threshold and leak as the neurons use them, inside their ranges."""
        return bounded(self.threshold, LOWEST_THRESHOLD, math.inf), bounded(self.leak, 0.0, 1.0)

    def forward(self, current: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """Run one time step; `current`, the spikes and the membranes kept as state are (B, ...)."""
        th, lam = self.constants()
        u = torch.zeros_like(current) if state is None else state
        return self.dynamics(u, (1 - lam) * current if self.decay_input else current, lam, th, self.trigger)

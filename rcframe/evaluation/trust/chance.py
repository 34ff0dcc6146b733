"""How much of what a check finds may be chance, or no more than any attack misses."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

#: The share of the attacked images that a sound attack may miss before a check that breaks them speaks against it, and
#: before more of its own effort does: whoever doubles the steps of a sound attack still finds a little.
MAY_MISS, MAY_GAIN = 0.002, 0.01
#: A sound attack is flagged by one comparison at most this often.
_FALSE_ALARMS = 0.01
#: One image proves little: it may lie on the boundary itself, and fall by rounding.
_FEWEST = 2
_Z95 = 1.959963984540054


@attrs.frozen
class Survivors:
    """How many images were attacked, how many withstood, and how many of those a check tries."""

    attacked: int
    withstood: int
    tried: int


def speaks_against(broken: int, among: Survivors, tolerance: float) -> bool:
    """Say whether a check broke more of the survivors than an attack may miss.

    An attack that misses no more than `tolerance` of what it attacked has at most so many breakable images among the
    survivors; the check breaks this many of those it tried with a probability that must stay below 1%.
    """
    share = min(1.0, tolerance * among.attacked / max(among.withstood, 1))
    return broken >= _FEWEST and at_least(broken, among.tried, share) <= _FALSE_ALARMS


def at_least(count: int, of: int, share: float) -> float:
    """Return the probability of `count` or more successes in `of` trials that succeed with probability `share`."""
    if count <= 0 or share >= 1:
        return 1.0 if count <= of else 0.0
    if share <= 0:
        return 0.0
    fewer = math.fsum(_exactly(k, of, share) for k in range(min(count, of + 1)))
    return max(0.0, 1.0 - fewer)


def _exactly(count: int, of: int, share: float) -> float:
    ways = math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
    return math.exp(ways + count * math.log(share) + (of - count) * math.log1p(-share))


@attrs.frozen
class Lead:
    """By how much more images one model gets right than another, with the 95% interval over images of that."""

    mean: float
    half_width: float

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval leaves out zero."""
        return abs(self.mean) > self.half_width

    @classmethod
    def of(cls, first: Tensor, second: Tensor) -> Lead:
        """Compare which of the same images (n,) two models get right.

        The interval is that of `rcframe compare`: one image more for either side keeps it honest where few tell the
        two apart (Bonett and Price, 2012).
        """
        gain = first.double() - second.double()
        padded = torch.cat([gain, gain.new_tensor([1.0, -1.0])])
        half = _Z95 * float(padded.std(correction=0)) / math.sqrt(len(padded))
        return cls(float(gain.mean()), half)

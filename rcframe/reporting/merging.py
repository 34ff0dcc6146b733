"""One row for one network, by however many names runs have it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from rcframe.errors import listed
from rcframe.reporting.networks import Network


@attrs.frozen(eq=False)
class Same:
    """What is one network by all that is told of it."""

    #: At least one.
    networks: tuple[Network, ...]

    @property
    def named(self) -> Network:
        """The one that it is called after: where one is guarded and another is not, the latter."""
        return min(self.networks, key=lambda network: network.guarded)

    @property
    def names(self) -> list[str]:
        """All names that it has, beginning with the one that it is called by."""
        others = [network for network in self.networks if network is not self.named]
        return list(dict.fromkeys(name for network in (self.named, *others) for name in (network.name, *network.also)))


def merged(found: Sequence[Network]) -> list[Same]:
    """Put networks together that are one: a teacher with and without a guard, a student that never asks its teacher."""
    together: list[list[Network]] = []
    for network in found:
        for same in together:
            if all(network.same_as(other) for other in same):
                same.append(network)
                break
        else:
            together.append([network])
    return [Same(tuple(same)) for same in together]


def told_once(found: Sequence[Same]) -> Iterator[str]:
    """Name the networks that have several names but one row."""
    several = [_also(*same.names) for same in found if len(same.names) > 1]
    if several:
        yield f"One network{' each' * (len(several) > 1)}, told once: {'; '.join(several)}."


def _also(name: str, *others: str) -> str:
    return f"`{name}`, also called {listed(f'`{other}`' for other in others)}"

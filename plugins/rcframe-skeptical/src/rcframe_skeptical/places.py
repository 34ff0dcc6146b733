"""Where auxiliary classifiers sit: layers of the student by name, or by depth among the taps it names."""

from __future__ import annotations

import attrs
from torch import nn

from rcframe import RequestError, component, find_tap, option, taps_of

#: How a user calls the final classifier where a layer is asked for.
OUTPUT = "output"


@attrs.frozen
class Places:
    """The layers of the auxiliary classifiers: the one that the teacher enters at, and the self-distilled ones."""

    #: None for the final classifier, which is there anyway.
    shallow: str | None
    deeper: tuple[str, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that gets a classifier, that of the teacher first."""
        return self.deeper if self.shallow is None else (self.shallow, *self.deeper)


@component
class PlaceOptions:
    """The options that say where auxiliary classifiers sit, for the student and for the model it is rebuilt as."""

    tap: str = option(
        default="auto",
        help="Where the teacher enters: a layer, or a depth from 1; `auto` is the middle tap, `output` the final "
        "classifier.",
        lookup=True,
    )
    deeper: tuple[str, ...] = option(
        default=("auto",),
        help="Layers, or depths, of self-distilled heads: `auto` is the taps between `tap` and the last, `others` all "
        "taps but `tap` and the last.",
        lookup=True,
    )

    def lacking(self, network: nn.Module) -> str | None:
        """Say what keeps a network from having these places, or None; a layer that it lacks is refused by name."""
        taps = taps_of(network)
        if self.tap == "auto" and len(taps) < 2:
            return (
                f"of the two taps that are needed it has {len(taps)}; name layers with the options `tap` and "
                f"`deeper`, or list them in an attribute `taps`"
            )
        self.places(network)
        return None

    def places(self, network: nn.Module) -> Places:
        """Return the layers of `network` that the options mean."""
        taps = taps_of(network)
        if self.tap == OUTPUT:
            return Places(None, self._self_distilled(network, None))
        shallow = taps[max(0, len(taps) // 2 - 1)] if self.tap == "auto" else layer_at(network, self.tap, "tap")
        return Places(shallow, self._self_distilled(network, shallow))

    def _self_distilled(self, network: nn.Module, shallow: str | None) -> tuple[str, ...]:
        taps = taps_of(network)
        if self.deeper == ("others",):
            return tuple(tap for tap in taps[:-1] if tap != shallow)
        if self.deeper != ("auto",):
            return tuple(dict.fromkeys(layer_at(network, name, "deeper") for name in self.deeper))
        return taps[taps.index(shallow) + 1 : -1] if shallow in taps else ()


def layer_at(network: nn.Module, name: str, option: str) -> str:
    """Return the layer called `name` by `option`, or the tap at that depth, counted from 1; refuse what is neither."""
    taps = taps_of(network)
    if name in dict(network.named_modules()) or not (name.isdecimal() and taps):
        find_tap(network, name, option=option)
        return name
    depth = int(name)
    if not 1 <= depth <= len(taps):
        numbered = ", ".join(f"{number} `{tap}`" for number, tap in enumerate(taps, 1))
        raise RequestError(f"In the option `{option}`: the network has no depth {name}. Its taps by depth: {numbered}.")
    return taps[depth - 1]

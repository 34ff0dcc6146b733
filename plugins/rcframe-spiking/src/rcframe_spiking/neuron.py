"""The component: which neurons to use, and where they start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rcframe import NeuronModel, RequestError, between, component, more_than, option
from rcframe_spiking.cell import DYNAMICS, LIFCell, Order
from rcframe_spiking.surrogate import SURROGATES, SurrogateName, Trigger

if TYPE_CHECKING:
    from torch import nn


@component
class LIF(NeuronModel):
    """Leaky integrate-and-fire neurons with learnable thresholds and leaks.

    The defaults are those of DIET-SNN (Rathi and Roy, 2021) and HIRE-SNN (Kundu, Pedram and Beerel, ICCV 2021). Where
    they clamp the leak after every optimizer step, it is clamped here where it is used, and from below too.
    """

    order: Order = option(
        default="immediate",
        help="Order of leak, input, spike and reset; `fire-first` delays every layer by one step.",
    )
    threshold: float = option(default=1.0, help="Threshold of every layer at the start.", check=more_than(0))
    leak: float = option(
        default=1.0,
        help="Part of the membrane kept from step to step at the start; 1 forgets nothing.",
        check=between(0, 1),
    )
    learn: bool = option(default=True, help="Train one threshold and one leak per layer along with the weights.")
    surrogate: SurrogateName = option(default="linear", help="What stands in for the derivative of a spike.")
    surrogate_scale: float | None = option(
        default=None, help="Height or sharpness of the surrogate, none for its authors' value.", check=more_than(0)
    )
    compare: Literal["strict", "at-least"] = option(
        default="strict", help="Whether a membrane exactly at the threshold stays silent, or fires."
    )
    decay_input: bool = option(default=False, help="Multiply the input by 1 - leak, as SpikingJelly's neurons do.")

    def __attrs_post_init__(self) -> None:
        if self.decay_input and self.leak == 1:
            raise RequestError(
                "`decay_input` multiplies the input by 1 - leak, which is 0 for `leak=1`: set a leak below 1, "
                "for example `leak=0.5`."
            )

    def cell(self) -> nn.Module:
        """Return one layer's neurons, at rest."""
        surrogate = SURROGATES[self.surrogate]
        scale = surrogate.scale if self.surrogate_scale is None else self.surrogate_scale
        trigger = Trigger(surrogate, scale, inclusive=self.compare == "at-least")
        return LIFCell(
            DYNAMICS[self.order],
            trigger,
            self.threshold,
            self.leak,
            learn=self.learn,
            decay_input=self.decay_input,
        )

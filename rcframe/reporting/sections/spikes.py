"""How much spiking networks do, layer by layer, and the energy of it beside that of ordinary neurons."""

from __future__ import annotations

import attrs

from rcframe.evaluation.activity import (
    FLOAT_COSTS,
    INTEGER_COSTS,
    Costs,
    Encoding,
    Energy,
    LayerActivity,
    energy_of,
)
from rcframe.findings.folders import Collection, Group
from rcframe.findings.tables import NOTHING, Table
from rcframe.reporting.chart import number
from rcframe.reporting.drawing import BarRow, draw_bars
from rcframe.reporting.section import Exhibit, Section
from rcframe.session.evidence import Role

_MOST = 6
_NOTE = (
    f"Arithmetic only, at 45 nm (Horowitz, 2014). Floats: {FLOAT_COSTS.multiply} pJ for a multiplication with "
    f"addition, {FLOAT_COSTS.add} pJ for an addition; integers: {INTEGER_COSTS.multiply} and {INTEGER_COSTS.add} pJ. "
    "Ordinary: the same network with neurons that do not spike. What the first layers make of the image is computed "
    "once."
)


@attrs.frozen(eq=False)
class Spiking:
    """A spiking network of a run, and what it does."""

    group: Group
    role: Role
    layers: tuple[LayerActivity, ...]
    #: None if the run did not keep it.
    encoding: Encoding | None

    def energy(self, costs: Costs) -> Energy | None:
        """Return the energy for an image, in pJ."""
        return energy_of(self.encoding, self.layers, costs) if self.encoding else None


def section(collection: Collection) -> Section | None:
    """Return the section on spikes."""
    found = [network for group in collection.groups for network in _networks(group)]
    if not found:
        return None
    columns = ("run", "network", "time steps", "neurons", "additions per image")
    energies = ("floats: spiking (nJ)", "floats: ordinary (nJ)", "integers: spiking (nJ)", "integers: ordinary (nJ)")
    says = (f"The layers of the first {_MOST} of {len(found)} networks are drawn.",) if len(found) > _MOST else ()
    return Section(
        name="spikes",
        title="Spikes and energy",
        says=says,
        tables=(Table("Energy for an image", (*columns, *energies), tuple(map(_row, found)), (_NOTE,)),),
        exhibits=tuple(_exhibit(network, place) for place, network in enumerate(found[:_MOST], 1)),
    )


def _networks(group: Group) -> list[Spiking]:
    evidence = group.first.evidence
    if evidence is None:
        return []
    return [
        Spiking(group, role, layers, evidence.encodings.get(role)) for role, layers in evidence.spikes.items() if layers
    ]


def _row(network: Spiking) -> tuple[str, ...]:
    steps = str(network.encoding.steps) if network.encoding else NOTHING
    neurons = sum(layer.neurons for layer in network.layers)
    additions = sum(layer.operations for layer in network.layers)
    energies = [cell for costs in (FLOAT_COSTS, INTEGER_COSTS) for cell in _cells(network.energy(costs))]
    return (network.group.name, network.role, steps, f"{neurons:,}", f"{additions:,.0f}", *energies)


def _cells(energy: Energy | None) -> tuple[str, str]:
    return (number(energy.spiking / 1000), number(energy.ordinary / 1000)) if energy else (NOTHING, NOTHING)


def _exhibit(network: Spiking, place: int) -> Exhibit:
    caption = f"Activity of the {network.role}, layer by layer: {network.group.name}, seed {network.group.seeds[0]}."
    rows = [
        (layer.layer, str(layer.neurons), number(layer.rate), f"{layer.operations:,.0f}", f"{layer.macs:,.0f}")
        for layer in network.layers
    ]
    bars = [BarRow(layer.layer, (100 * layer.rate,)) for layer in network.layers]
    columns = ("layer", "neurons", "spikes of a neuron per time step", "additions per image", "multiplications instead")
    return Exhibit(
        name=f"spikes-{place}",
        caption=caption,
        data=Table(caption, columns, tuple(rows)),
        drawing=draw_bars(bars, "spikes per neuron and time step (%)", caption),
    )

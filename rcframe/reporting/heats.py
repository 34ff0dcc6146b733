"""Why outputs were softened at a temperature that is not the network's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rcframe.errors import listed
from rcframe.findings.folders import FoundRun
from rcframe.reporting.chart import number
from rcframe.reporting.networks import Network
from rcframe.session.evidence import Role
from rcframe.session.outputs import TEMPERATURE


def otherwise_softened(found: Sequence[Network], heat: float) -> Iterator[str]:
    """Name the networks that were softened at a temperature that another part of their run is set to, or none."""
    named: dict[str, list[str]] = {}
    for network in found:
        if why := _why(network, heat):
            named.setdefault(why, []).append(f"`{network.name}`")
    for why, names in named.items():
        yield f"{listed(names)}: {why}."


def _why(network: Network, heat: float) -> str:
    own = _set_to(network.group.first, network.role)
    at = f"softened at {number(heat)}"
    if own and own != [heat]:
        return f"set to temperature {listed(map(number, own))}, but {at}, since the parts of a run are set to several"
    teachers = heat in _set_to(network.group.first, "teacher") or heat != TEMPERATURE
    return f"{at}, the temperature of its teacher" if network.role == "student" and not own and teachers else ""


def _set_to(run: FoundRun, role: Role) -> list[float]:
    """Return the temperatures that a network of a run was trained at, as far as its settings name them."""
    texts = [
        text
        for name, text in run.settings.items()
        if name.partition(".")[2] == "temperature" and name.split(".")[0].split(" ")[0] == role
    ]
    return list(dict.fromkeys(float(text) for text in texts if _is_number(text)))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

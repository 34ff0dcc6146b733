"""Which figures of two runs belong together, and whether they were measured the same way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rcframe.errors import listed
from rcframe.findings.figures import Figure
from rcframe.options import to_text
from rcframe.session.evidence import About
from rcframe.session.report import Protocol

#: A figure of each side; None where it was not measured.
Twins = tuple[Figure | None, Figure | None]


def twins(first: Mapping[About, Figure], second: Mapping[About, Figure]) -> Iterator[Twins]:
    """Yield the figures of two runs that belong together: those of equal names, else those measured the same way."""
    left = [figure for about, figure in second.items() if about not in first]
    for about, figure in first.items():
        twin = second.get(about) or next((other for other in left if _measured_alike(figure, other)), None)
        left = [other for other in left if other is not twin]
        yield figure, twin
    yield from ((None, figure) for figure in left)


def unlike_protocols(first: Figure, second: Figure) -> str:
    """Say what makes two figures incomparable: another norm, radius, option or temperature; empty if nothing does."""
    hot, other = first.temperature, second.temperature
    if hot is not None and other is not None and hot != other:
        return f"softened at temperature {hot:g} and {other:g}"
    if first.attacks and second.attacks:
        return _unlike_attacks(first.attacks, second.attacks)
    mine, theirs = _protocol(first), _protocol(second)
    return listed(_unlike(mine, theirs)) if mine and theirs and any(_unlike(mine, theirs)) else ""


def _unlike_attacks(first: Mapping[str, Protocol], second: Mapping[str, Protocol]) -> str:
    """Say why two worst cases cannot be compared: each attack of one must do what one of the other does."""
    mine, theirs = (_without_twin(*sides) for sides in ((first, second), (second, first)))
    if not mine and not theirs:
        return ""
    (one, *_), (other, *_) = first.values(), second.values()
    # The norm and the radius belong to the whole run.
    if any(_unlike_threats(one, other)):
        return listed(_unlike_threats(one, other))
    if sorted(map(_named, first)) == sorted(map(_named, second)):
        return f"other options of {listed(mine or theirs)}"
    return f"the worst case of {listed(first)} and of {listed(second)}"


def _without_twin(first: Mapping[str, Protocol], second: Mapping[str, Protocol]) -> list[str]:
    return [
        spec
        for spec, protocol in first.items()
        if not any(
            _named(spec) == _named(other) and not any(_unlike(protocol, theirs)) for other, theirs in second.items()
        )
    ]


def _measured_alike(first: Figure, second: Figure) -> bool:
    """Say whether two figures differ in nothing but how people spelled the attack or certifier."""
    mine, theirs = _protocol(first), _protocol(second)
    if mine is None or theirs is None or _method(first.about) != _method(second.about):
        return False
    return first.about.role == second.about.role and mine.plugin == theirs.plugin and not any(_unlike(mine, theirs))


def _protocol(figure: Figure) -> Protocol | None:
    return figure.measured.protocol if figure.measured else None


def _method(about: About) -> str:
    """Return `name` of `package/name:option=value`, and `certified by name` of a certifier."""
    words, blank, spec = about.what.partition(":")[0].rpartition(" ")
    return words + blank + _named(spec)


def _named(spec: str) -> str:
    return spec.partition(":")[0].rpartition("/")[2]


def _unlike(first: Protocol, second: Protocol) -> Iterator[str]:
    """Yield what differs between two protocols; seeds and versions do not count."""
    yield from _unlike_threats(first, second)
    for name in dict.fromkeys((*first.options, *second.options)):
        mine, theirs = _option(first, name), _option(second, name)
        if mine != theirs:
            yield f"{name} {mine} and {theirs}"


def _unlike_threats(first: Protocol, second: Protocol) -> Iterator[str]:
    if first.norm != second.norm:
        yield f"norm {first.norm} and {second.norm}"
    if float(first.eps) != float(second.eps):
        yield f"eps {first.eps} and {second.eps}"


def _option(protocol: Protocol, name: str) -> str:
    return to_text(protocol.options[name]) if name in protocol.options else "not set"

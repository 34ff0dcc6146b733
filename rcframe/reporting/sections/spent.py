"""What attacks asked of the networks, and how far they moved the images that they broke."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rcframe.findings.figures import ROLES, model_of
from rcframe.findings.folders import Collection, Group
from rcframe.findings.tables import NOTHING, Table
from rcframe.reporting.chart import number
from rcframe.reporting.section import Section
from rcframe.session.evidence import Role
from rcframe.session.report import Measurement

#: Rows beyond which the table waits to be opened.
_MANY = 24
_HEADS = (
    "run",
    "network",
    "attack",
    "images broken",
    "mean linf",
    "mean l2",
    "forward passes",
    "backward passes",
    "of the curve besides",
    "outside the threat",
    "no number",
)


def section(collection: Collection) -> Section | None:
    """Return the section on what attacks spent and moved."""
    rows = tuple(row for group in collection.groups for role in ROLES for row in _rows(group, role))
    if not rows:
        return None
    says = (
        "How far the images that an attack broke were moved, on average over these images, and the images that went "
        "forward and backward through the network for each image attacked. Images that are wrong as they are are not "
        "attacked. Of a curve, the passes are those at its largest eps, and the rest beside it.",
        "The last two columns count proposals that were put right: images further away than allowed, and those with "
        "values that are no numbers. Of several seeds, passes are means, counts are sums.",
    )
    table = Table("What attacks spent and moved", _HEADS, rows)
    placed = ((table,), ()) if len(rows) <= _MANY else ((), (table,))
    return Section(name="spent", title="What attacks spent and moved", says=says, tables=placed[0], folded=placed[1])


def _rows(group: Group, role: Role) -> Iterator[tuple[str, ...]]:
    for what in model_of(group.first.report, role).attacked:
        runs = [model_of(run.report, role).attacked.get(what) for run in group.runs]
        found = [measured for measured in runs if measured and measured.broken]
        if found:
            yield group.name, role, what, *_moved(found), *_passes(found), *_faults(found)


def _moved(found: Sequence[Measurement]) -> Iterator[str]:
    broken = [measured.broken for measured in found if measured.broken]
    yield f"{sum(one.n for one in broken):,}"
    for distances in ([(one.n, one.linf) for one in broken], [(one.n, one.l2) for one in broken]):
        known = [(count, distance) for count, distance in distances if distance is not None]
        images = sum(count for count, _ in known)
        yield number(math.fsum(count * distance for count, distance in known) / images) if images else NOTHING


def _passes(found: Sequence[Measurement]) -> Iterator[str]:
    passes = [measured.passes for measured in found if measured.passes]
    for counts in ([one.forward for one in passes], [one.backward for one in passes]):
        yield number(round(math.fsum(counts) / len(counts), 1)) if counts else NOTHING
    more = [_more(measured) for measured in found]
    yield number(round(math.fsum(more) / len(more), 1)) if any(more) else NOTHING


def _more(measured: Measurement) -> float:
    """Return the passes that the rest of a curve took, forward and backward, for each image attacked."""
    asked, first, passes = measured.curve_queries, measured.queries, measured.passes
    if not asked or not first or not passes or not passes.forward:
        return 0.0
    attacked = first.images / passes.forward
    return (asked.images + asked.gradient_images) / attacked


def _faults(found: Sequence[Measurement]) -> Iterator[str]:
    faults = [measured.faults for measured in found if measured.faults]
    for count in (sum(one.outside for one in faults), sum(one.broken for one in faults)):
        yield f"{count:,}"

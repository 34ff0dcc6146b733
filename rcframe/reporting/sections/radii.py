"""Certified radii in order of size: how far from each image the network is proved right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.findings.figures import ROLES
from rcframe.findings.folders import Collection, FoundRun, Group
from rcframe.findings.tables import Table
from rcframe.options import Number
from rcframe.reporting.chart import COLOURS, Axis, Chart, Line, Point, Style, number, sentence
from rcframe.reporting.drawing import draw, legend
from rcframe.reporting.exhibits import slug
from rcframe.reporting.section import Exhibit, Section
from rcframe.session.evidence import About

_MOST_LINES = 6
_POINTS = 120


@attrs.frozen(eq=False)
class Ranked:
    """Certified radii (m,) from the largest to the smallest, of one configuration or of several that have the same."""

    name: str
    radii: NDArray[np.float32]


def section(collection: Collection) -> Section | None:
    """Return the section on certified radii."""
    groups = [group for group in collection.groups if group.first.evidence and group.first.evidence.radii]
    if not groups:
        return None
    abouts = dict.fromkeys(about for group in groups for about in _radii(group.first))
    exhibits = [_exhibit(groups, about) for about in sorted(abouts, key=lambda about: ROLES.index(about.role))]
    says = [
        "The radius within which each image is proved to keep its class, from the largest to the smallest; 0 where "
        "not even the image itself is right. The area below a line is the mean radius. Of several seeds, the lowest is "
        "drawn. Equal lines are drawn once."
    ]
    return Section(name="radii", title="Certified radii", says=tuple(says), exhibits=tuple(exhibits))


def _radii(run: FoundRun) -> dict[About, NDArray[np.float32]]:
    return dict(run.evidence.radii) if run.evidence else {}


def _exhibit(groups: Sequence[Group], about: About) -> Exhibit:
    having = [group for group in groups if about in _radii(group.first)]
    ranked = _ranked(having, about)
    shown = ranked[:_MOST_LINES]
    lines = (*_curves(shown), *_levels(shown, having))
    chart = Chart(x=Axis("images, from the largest radius (%)", low=0, high=100), y=Axis("radius", low=0), lines=lines)
    few = f"; the first {len(shown)} of {len(ranked)} lines" if len(shown) < len(ranked) else ""
    caption = sentence(
        f"Certified radii of the {about.role}, {_by(about)}, with their mean and the eps of the runs{few}"
    )
    return Exhibit(
        name=slug(f"radii-{about.role}-{about.what}"),
        caption=caption,
        data=_data(ranked, about),
        drawing=draw(chart, caption),
        legend=legend(lines),
    )


def _by(about: About) -> str:
    return f"by {about.what.removeprefix('certified by ')}"


def _ranked(groups: Sequence[Group], about: About) -> list[Ranked]:
    """Sort the radii of each group, and put those together that are the same."""
    together: dict[bytes, list[Group]] = {}
    for group in groups:
        together.setdefault(_sorted(group, about).tobytes(), []).append(group)
    return [Ranked(_named(same), _sorted(same[0], about)) for same in together.values()]


def _named(same: Sequence[Group]) -> str:
    return same[0].name if len(same) == 1 else f"{same[0].name} and {len(same) - 1} more"


def _curves(ranked: Sequence[Ranked]) -> Iterator[Line]:
    for place, one in enumerate(ranked):
        radii = one.radii
        xs = np.linspace(0, 100, len(radii)) if len(radii) > 1 else np.zeros(len(radii))
        chosen = np.unique(np.linspace(0, len(radii) - 1, min(_POINTS, len(radii))).round().astype(int))
        points = tuple(Point(float(xs[rank]), float(radii[rank])) for rank in chosen)
        yield Line(one.name, points, Style(place), "plain")


def _sorted(group: Group, about: About) -> NDArray[np.float32]:
    return np.sort(_radii(group.first)[about])[::-1]


def _levels(ranked: Sequence[Ranked], groups: Sequence[Group]) -> Iterator[Line]:
    """Yield horizontal lines: the mean of each curve, and the radii at which runs were trained or measured."""
    for place, one in enumerate(ranked):
        mean = float(one.radii.mean())
        name = f"mean {number(mean)}: {one.name}" if len(ranked) > 1 else f"mean {number(mean)}"
        yield Line(name, _across(mean), Style(place, dashed=True), "level")
    for place, (text, words) in enumerate(_eps(groups).items(), 1):
        # In ink, each with dashes of its own.
        yield Line(f"eps {text} ({words})", _across(float(Number(text))), Style((place + 1) * COLOURS - 1), "level")


def _eps(groups: Sequence[Group]) -> dict[str, str]:
    """Return the radii of runs as typed, and what was done with them."""
    found = {group.first.settings.get("eps", "none"): "measured" for group in groups}
    for group in groups:
        for name, text in group.first.settings.items():
            if name.partition(".")[2] == "eps" and name.startswith(("teacher", "student")):
                found[text] = "measured and trained" if found.get(text) == "measured" else found.get(text, "trained")
    # Where a run has several radii, no single one is what it was measured at.
    return {text: words for text, words in found.items() if text != "none" and not set(":,") & set(text)}


def _across(radius: float) -> tuple[Point, ...]:
    return Point(0, radius), Point(100, radius)


def _data(ranked: Sequence[Ranked], about: About) -> Table:
    """Return deciles, which say as much as the ranks of hundreds of images."""
    shares = [0, 10, 25, 50, 75, 90, 100]
    rows = []
    for one in ranked:
        cells = [number(float(np.quantile(one.radii, 1 - share / 100))) for share in shares]
        rows.append((one.name, str(len(one.radii)), number(float(one.radii.mean())), *cells))
    heads = [f"reached by {share}%" if share else "largest" for share in shares]
    return Table(f"Certified radii of the {about.role}, {_by(about)}", ("run", "images", "mean", *heads), tuple(rows))

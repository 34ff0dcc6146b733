"""Training curves, stage by stage."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import attrs

from rcframe.findings.folders import Collection, Group
from rcframe.reporting.chart import Axis, Chart, Line, Point, Style, sentence
from rcframe.reporting.exhibits import exhibit_of
from rcframe.reporting.section import Exhibit, Section

_MOST_LINES = 12
_MOST_POINTS = 100
_MOST = 16


@attrs.frozen
class Track:
    """A metric of a stage."""

    stage: str
    metric: str

    @property
    def in_percent(self) -> bool:
        """Whether it is a fraction that is shown in percent."""
        return self.metric.endswith("accuracy")


#: Values by epoch, of each seed.
Values = dict[int, list[float]]


def section(collection: Collection) -> Section | None:
    """Return the section on training."""
    of_groups = [(group, _tracks(group)) for group in collection.groups]
    tracks = sorted(
        dict.fromkeys(track for _, found in of_groups for track in found), key=lambda track: _order(track.stage)
    )
    drawn = [_exhibit(track, of_groups, number) for number, track in enumerate(tracks[:_MOST])]
    if not drawn:
        return None
    several = any(len(group.runs) > 1 for group in collection.groups)
    bands = ["Means over seeds; a band reaches from the lowest seed to the highest."] if several else []
    says = [" ".join([*bands, "Equal curves are drawn once."])]
    if len(tracks) > _MOST:
        says.append(f"The first {_MOST} of {len(tracks)} curves are shown; metrics.jsonl of each run has all.")
    return Section(name="training", title="Training curves", says=tuple(says), exhibits=tuple(drawn))


def _order(stage: str) -> int:
    return 0 if stage.startswith("teacher") else 1


def _tracks(group: Group) -> dict[Track, Values]:
    found: dict[Track, Values] = {}
    for run in group.runs:
        # A stage that went on from a checkpoint may have written an epoch twice; the last counts.
        once = {(line.stage, line.epoch): line for line in run.curves}
        for line in once.values():
            for metric, value in line.metrics.items():
                if math.isfinite(value):
                    found.setdefault(Track(line.stage, metric), {}).setdefault(line.epoch, []).append(value)
    return found


def _exhibit(track: Track, of_groups: Sequence[tuple[Group, dict[Track, Values]]], number: int) -> Exhibit:
    together: dict[tuple[Point, ...], list[str]] = {}
    for group, found in of_groups:
        if track in found:
            together.setdefault(_points(found[track], track), []).append(group.name)
    lines = [
        Line(_named(names), points, Style(place), "band" if any(point.low is not None for point in points) else "plain")
        for place, (points, names) in enumerate(together.items())
    ]
    more = f"; the first {_MOST_LINES} of {len(lines)} curves are drawn" if len(lines) > _MOST_LINES else ""
    unit = " (%)" if track.in_percent else ""
    chart = Chart(x=Axis("epoch", whole=True), y=Axis(f"{track.metric}{unit}"), lines=tuple(lines[:_MOST_LINES]))
    caption = sentence(f"{track.metric} in the stage {track.stage}{more}")
    return exhibit_of(chart, f"curve-{number + 1}-{track.stage}-{track.metric}", caption)


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _points(values: Values, track: Track) -> tuple[Point, ...]:
    unit = 100 if track.in_percent else 1
    return tuple(_point(epoch, [unit * value for value in values[epoch]]) for epoch in _thinned(sorted(values)))


def _point(epoch: int, values: Sequence[float]) -> Point:
    mean = statistics.fmean(values)
    return Point(epoch, mean) if len(values) == 1 else Point(epoch, mean, min(values), max(values))


def _thinned(epochs: Sequence[int]) -> list[int]:
    """Return at most so many epochs, evenly spread, the first and the last among them."""
    count = min(len(epochs), _MOST_POINTS)
    places = {round(index * (len(epochs) - 1) / max(1, count - 1)) for index in range(count)}
    return [epochs[place] for place in sorted(places)]

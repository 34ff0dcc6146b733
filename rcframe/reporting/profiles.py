"""The mean softened output of a network for the images of each class, as a table in colours."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rcframe.findings.figures import model_of
from rcframe.findings.folders import FoundRun
from rcframe.findings.tables import Table
from rcframe.reporting.chart import number, told_apart
from rcframe.reporting.section import Exhibit, Heat, HeatCell, HeatRow
from rcframe.session.evidence import About, Role
from rcframe.session.outcomes import RELEASED


def profiles(run: FoundRun, role: Role, name: str, stem: str) -> Iterator[Exhibit]:
    """Yield what a network answers to the images of each class, and what leaves in the place of that."""
    evidence = run.evidence
    if evidence is None:
        return
    softness = model_of(run.report, role).outputs.softness
    softened = "Mean softened outputs" if softness is None else f"Mean outputs at temperature {softness.temperature:g}"
    for what, whose, end in (("clean", name, ""), (RELEASED, f"{name}, what it releases", "-released")):
        profile = evidence.profiles.get(About(role, what))
        if profile is not None:
            caption = f"{softened} for the images of each class, in percent: {whose}."
            yield _exhibit(profile, evidence.classes, caption, stem + end)


def _exhibit(profile: NDArray[np.float32], classes: tuple[str, ...], caption: str, name: str) -> Exhibit:
    # A class without images has no mean.
    seen = [place for place in range(len(classes)) if not np.isnan(profile[place]).any()]
    rows = tuple(
        HeatRow(
            classes[place],
            tuple(HeatCell(None, float(share), column == place) for column, share in enumerate(profile[place])),
        )
        for place in seen
    )
    told = tuple((classes[place], *(number(100 * float(share)) for share in profile[place])) for place in seen)
    return Exhibit(
        name=name,
        caption=caption,
        data=Table(caption, tuple(told_apart(["class", *classes])), told),
        heat=Heat("class / output", classes, rows),
    )

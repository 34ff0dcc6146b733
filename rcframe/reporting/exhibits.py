"""Charts as exhibits."""

from __future__ import annotations

import re

from rcframe.reporting.chart import Chart, data_of
from rcframe.reporting.drawing import draw, legend
from rcframe.reporting.section import Exhibit


def exhibit_of(chart: Chart, name: str, caption: str) -> Exhibit:
    """Draw a chart, with its legend and its data."""
    return Exhibit(
        name=slug(name),
        caption=caption,
        data=data_of(chart, caption),
        drawing=draw(chart, caption),
        legend=legend(chart.lines),
    )


def slug(text: str) -> str:
    """Return a name for an address or a file: lower-case words with hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "it"

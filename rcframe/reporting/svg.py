"""From matplotlib to the page: SVG elements that take their colours and their font from it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

from rcframe.reporting.chart import COLOURS
from rcframe.visible import visible

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: In points, as wide figures are 360: legible when the page is 400 pixels wide.
FONT = 10.0
#: Drawn instead of the page's colours, and replaced by them.
INK, SOFT, GRID, PAPER = "#0a0a01", "#0a0a02", "#0a0a03", "#0a0a04"
SERIES = tuple(f"#0a0b{number:02x}" for number in range(COLOURS))
_REPLACED = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--grid)", PAPER: "var(--paper)"} | {
    drawn: f"var(--line-{number})" for number, drawn in enumerate(SERIES)
}
_NOT_FOR_PAGES = re.compile(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", re.DOTALL)
_LONG = re.compile(r"(\d+\.\d\d)\d+")
#: Texts between tags stay as they are.
_TAG = re.compile(r"<[^>]*>")
_NAME = re.compile(r' id="([^"]*)"')
_USE = re.compile(r'(?<=["(]#)[\w-]+')


@contextmanager
def canvas(width: float, height: float) -> Iterator[Figure]:
    """Give a figure of so many points to draw on."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    house = rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "rcframe",
            "font.family": ["DejaVu Sans"],
            "font.size": FONT,
            "text.parse_math": False,
            "axes.unicode_minus": False,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": SOFT,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "xtick.color": SOFT,
            "ytick.color": SOFT,
            "xtick.labelcolor": INK,
            "ytick.labelcolor": INK,
            "lines.linewidth": 1.8,
            "lines.markersize": 6,
            "axes.formatter.useoffset": False,
        }
    )
    with house, warnings.catch_warnings():
        # The browser has the signs that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph")
        yield Figure((width / 72, height / 72), facecolor="none")


def svg_of(figure: Figure, words: str = "") -> str:
    """Return a figure as an SVG element; `words` say what it shows, without them it is an ornament."""
    for axes in figure.axes:
        axes.patch.set_visible(False)
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    text = written.getvalue()
    # Its style sheet would hold for the whole page.
    text = _NOT_FOR_PAGES.sub("", text[text.index("<svg") :])
    for drawn, wanted in _REPLACED.items():
        text = text.replace(drawn, wanted)
    used = set(_USE.findall(text))
    text = _NAME.sub(lambda found: found[0] if found[1] in used else "", text)
    end = text.index(">")
    head = re.sub(r' (?:width|height)="[^"]*"', "", text[:end])
    role = f'role="img" aria-label="{escape(visible(words))}"' if words else 'aria-hidden="true"'
    body = _TAG.sub(lambda tag: re.sub(r"\s+", " ", _LONG.sub(r"\1", tag[0])), text[end:])
    body = re.sub(r">\s*\n\s*<", "><", body)
    return f"{head.replace('<svg', f'<svg {role}', 1)}{body}".strip()


def named_apart(svg: str, prefix: str) -> str:
    """Return an SVG element whose names begin with a prefix, so that no other element of the page has them."""
    svg = _NAME.sub(lambda found: f' id="{prefix}{found[1]}"', svg)
    return _USE.sub(lambda found: f"{prefix}{found[0]}", svg)

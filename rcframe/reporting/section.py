"""What a report is made of: sections with sentences, tables, and exhibits whose data stands behind them."""

from __future__ import annotations

import math

import attrs

from rcframe.findings.tables import Table

#: Names of columns up to this length lie flat.
_SHORT = 3


@attrs.frozen
class Key:
    """An entry of a legend."""

    name: str
    #: An SVG element that shows how its line is drawn.
    swatch: str


@attrs.frozen
class Picture:
    """A picture of pixels."""

    #: A data URI.
    source: str
    #: What it shows, for those who do not see it too.
    words: str


@attrs.frozen
class Strip:
    """What belongs together in one row: pictures, and a drawing beside them."""

    words: str
    pictures: tuple[Picture, ...]
    #: An SVG element, or nothing.
    drawing: str = ""


@attrs.frozen
class HeatCell:
    """A count, shaded by its share of the row; or the share alone, where nothing was counted."""

    count: int | None
    #: A fraction.
    share: float
    #: Whether a reader is glad of it.
    good: bool

    @property
    def shade(self) -> int:
        """How strong its colour is, in percent; small shares are seen too, and what stands on it stays legible."""
        return round(45 * math.sqrt(self.share))


@attrs.frozen
class HeatRow:
    """A row of a heat table."""

    name: str
    cells: tuple[HeatCell, ...]


@attrs.frozen
class Heat:
    """A table of counts in colours."""

    #: What the rows are, and what the columns are.
    corner: str
    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]

    @property
    def narrow(self) -> bool:
        """Whether the names of the columns are so long that they stand upright."""
        return max(map(len, self.columns)) > _SHORT


@attrs.frozen(kw_only=True)
class Exhibit:
    """Something to look at, and the data that it shows."""

    #: Unique in a report; lower-case words with hyphens.
    name: str
    caption: str
    data: Table
    #: An SVG element, or nothing.
    drawing: str = ""
    legend: tuple[Key, ...] = ()
    strips: tuple[Strip, ...] = ()
    heat: Heat | None = None


@attrs.frozen
class Warned:
    """A reason to distrust a figure."""

    #: What docs/trust.md calls it; nothing where that is not known.
    kind: str
    words: str


@attrs.frozen
class Command:
    """A command to copy."""

    words: str
    text: str


@attrs.frozen(kw_only=True)
class Section:
    """A part of a report."""

    #: Unique in a report; lower-case words with hyphens.
    name: str
    title: str
    says: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    #: Tables that a reader opens if wanted.
    folded: tuple[Table, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    #: Reasons to distrust a figure.
    warnings: tuple[Warned, ...] = ()
    commands: tuple[Command, ...] = ()

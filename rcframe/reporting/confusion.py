"""What networks take the classes for: counts of classes and answers, and the tables that show them."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.findings.tables import Table
from rcframe.reporting.section import Heat, HeatCell, HeatRow

Counts = NDArray[np.int64]
#: Classes up to which all are shown, and how many are where there are more.
MOST_CLASSES, SHOWN_CLASSES = 20, 12
#: Rows of the data behind a confusion: of hundreds of classes, the rarest mistakes say nothing.
_MOST_ROWS = 400


@attrs.frozen(eq=False)
class Confusion:
    """How many images of each class were taken for each class."""

    classes: tuple[str, ...]
    #: (classes, classes + 1); the last column counts answers that are no class, since an output was no number.
    counts: Counts

    @classmethod
    def of(cls, truth: NDArray[np.int64], answers: NDArray[np.int16], classes: tuple[str, ...]) -> Confusion:
        """Count the classes (n,) of images and what they were taken for (n,)."""
        counts = np.zeros((len(classes), len(classes) + 1), np.int64)
        np.add.at(counts, (truth, answers.astype(np.int64)), 1)
        return cls(classes, counts)

    @property
    def mistakes(self) -> Counts:
        """Mistakes in which each class (classes,) takes part."""
        wrong = self.counts.copy()
        np.fill_diagonal(wrong, 0)
        return np.asarray(wrong.sum(axis=1) + wrong[:, :-1].sum(axis=0))


def chosen(confusions: Sequence[Confusion]) -> list[int]:
    """Return the classes to show: all, or of many those that are confused most often, in their order."""
    mistakes = np.sum([confusion.mistakes for confusion in confusions], axis=0)
    if len(mistakes) <= MOST_CLASSES:
        return list(range(len(mistakes)))
    return sorted(int(one) for one in np.argsort(-mistakes, kind="stable")[:SHOWN_CLASSES])


def heat_of(confusion: Confusion, shown: Sequence[int]) -> Heat:
    """Return the confusion of some classes; what they are taken for besides stands in a column of its own."""
    counts, names = confusion.counts[list(shown)], [confusion.classes[one] for one in shown]
    columns = [counts[:, one] for one in shown]
    if len(shown) < len(confusion.classes):
        names.append("others")
        columns.append(counts[:, :-1].sum(axis=1) - np.sum(columns, axis=0))
    if confusion.counts[:, -1].any():
        names.append("no number")
        columns.append(counts[:, -1])
    rows = tuple(
        HeatRow(confusion.classes[one], tuple(_cells([int(column[row]) for column in columns], row)))
        for row, one in enumerate(shown)
    )
    return Heat("class / taken for", tuple(names), rows)


def _cells(counts: Sequence[int], right: int) -> list[HeatCell]:
    images = max(1, sum(counts))
    return [HeatCell(count, count / images, place == right) for place, count in enumerate(counts)]


def table_of(confusion: Confusion, title: str) -> Table:
    """Return every pair of a class and an answer that occurs; of very many, the most frequent ones."""
    images = confusion.counts.sum(axis=1)
    pairs = [(int(row), int(column)) for row, column in np.argwhere(confusion.counts)]
    frequent = sorted(pairs, key=lambda pair: -confusion.counts[pair])[:_MOST_ROWS]
    names = (*confusion.classes, "no number")
    rows = [
        (
            names[row],
            names[column],
            str(confusion.counts[row, column]),
            f"{100 * confusion.counts[row, column] / images[row]:.1f}",
        )
        for row, column in sorted(frequent)
    ]
    notes = (f"The {len(rows)} most frequent of {len(pairs):,} pairs.",) if len(rows) < len(pairs) else ()
    return Table(title, ("class", "taken for", "images", "percent of the class"), tuple(rows), notes)

"""What experiments write beside their runs: the rows of a matrix, and what a reproduction found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, Literal, cast, get_args

import attrs

from rcframe.errors import RequestError
from rcframe.files import write_text
from rcframe.findings.statistics import Difference
from rcframe.session.layout import MATRIX

FORMAT = 1
#: What json.loads gives; every use below fails on a wrong type.
_Found = dict[str, Any]
REPRODUCTION = "reproduction.json"

#: Whether a run of a matrix is finished, failed, was interrupted, or has not begun.
Status = Literal["done", "failed", "interrupted", "waiting"]
#: What a comparison says about a claim.
Verdict = Literal["holds", "does not hold", "undecided"]


@attrs.frozen(kw_only=True)
class RowRecord:
    """One run of a matrix."""

    #: What is compared; runs that differ in the seed only have one name.
    name: str
    #: The labels of what was varied, by axis.
    labels: Mapping[str, str]
    seed: int
    #: Where the run writes, relative to the folder of the matrix.
    folder: str
    status: Status = "waiting"
    #: Why it failed.
    reason: str = ""


@attrs.frozen(kw_only=True)
class MatrixRecord:
    """The runs of a matrix and how far they are."""

    title: str
    command: str
    axes: tuple[str, ...]
    rows: tuple[RowRecord, ...]


@attrs.frozen(kw_only=True)
class PublishedRecord:
    """A figure as published: fractions for accuracies."""

    row: str
    #: Whose figure of what, such as `student clean`.
    figure: str
    value: float
    #: The published spread, or None.
    spread: float | None = None


@attrs.frozen(kw_only=True)
class ComparisonRecord:
    """One comparison that a claim rests on."""

    #: What is compared with what, in words.
    words: str
    #: None where a run is missing.
    difference: Difference | None
    verdict: Verdict
    #: What differences are shown in: 0.01 for points of percent, 1 for sizes.
    unit: float = 0.01


@attrs.frozen(kw_only=True)
class ClaimRecord:
    """A claim and what the comparisons say about it."""

    says: str
    verdict: Verdict
    comparisons: tuple[ComparisonRecord, ...]
    #: Why it may not hold at this scale, if the recipe knows.
    note: str = ""


@attrs.frozen(kw_only=True)
class ReproductionRecord:
    """A recipe that was carried out: what was published and which claims hold."""

    recipe: str
    title: str
    source: str
    scale: str
    #: What this scale does otherwise than the paper.
    note: str = ""
    #: The figures the table shows, in their order, such as `student clean`.
    figures: tuple[str, ...]
    published: tuple[PublishedRecord, ...]
    claims: tuple[ClaimRecord, ...]


@attrs.frozen
class FoundReproduction:
    """What a reproduction found, and the folder of its runs."""

    path: Path
    record: ReproductionRecord


def write_matrix(folder: Path, record: MatrixRecord) -> None:
    """Write `matrix.json`."""
    _write(folder / MATRIX, record)


def write_reproduction(folder: Path, record: ReproductionRecord) -> None:
    """Write `reproduction.json`."""
    _write(folder / REPRODUCTION, record)


def _write(path: Path, record: MatrixRecord | ReproductionRecord) -> None:
    write_text(path, json.dumps({"format": FORMAT, **attrs.asdict(record)}, indent=2) + "\n")


def read_matrix(folder: Path) -> MatrixRecord:
    """Read `matrix.json`."""
    path = folder / MATRIX
    found = _read(path)
    try:
        rows = tuple(_row(row) for row in found.pop("rows"))
        return MatrixRecord(rows=rows, axes=tuple(found.pop("axes")), **found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _row(found: _Found) -> RowRecord:
    row = RowRecord(**found)
    folder = PurePath(row.folder)
    if row.status not in get_args(Status):
        raise ValueError(f"no status {row.status!r}")
    if folder.is_absolute() or ".." in folder.parts:
        raise ValueError(f"the folder {row.folder!r} is not below that of the matrix")
    return attrs.evolve(row, name=str(row.name), labels=dict(row.labels), seed=int(row.seed))


def read_reproduction(folder: Path) -> ReproductionRecord | None:
    """Read `reproduction.json`; None if the runs in a folder reproduce nothing."""
    path = folder / REPRODUCTION
    if not path.is_file():
        return None
    found = _read(path)
    try:
        published = tuple(PublishedRecord(**figure) for figure in found.pop("published"))
        claims = tuple(_claim(claim) for claim in found.pop("claims"))
        figures = tuple(found.pop("figures"))
        return ReproductionRecord(published=published, claims=claims, figures=figures, **found)
    except (KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error


def _claim(found: _Found) -> ClaimRecord:
    comparisons = tuple(_comparison(comparison) for comparison in found.pop("comparisons"))
    return ClaimRecord(comparisons=comparisons, **found)


def _comparison(found: _Found) -> ComparisonRecord:
    difference = found.pop("difference")
    return ComparisonRecord(difference=difference and Difference(**difference), **found)


def _read(path: Path) -> _Found:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version = int(found.pop("format"))
    except OSError as error:
        raise RequestError(f"Cannot read `{path}`: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, error) from error
    if version > FORMAT:
        raise RequestError(f"`{path}` was written by a newer rcframe (format {version}): upgrade to read it.")
    return cast(_Found, found)


def _damaged(path: Path, error: Exception) -> RequestError:
    return RequestError(f"`{path}` is damaged: {error!r}. Give the command that wrote it again.")

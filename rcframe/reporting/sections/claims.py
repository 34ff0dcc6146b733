"""What a reproduction measured beside what was published, and which claims hold."""

from __future__ import annotations

from pathlib import Path

import attrs

from rcframe.findings.folders import Collection, Group
from rcframe.findings.records import ReproductionRecord
from rcframe.findings.reproduced import beside, claims_table
from rcframe.reporting.section import Section


def section(collection: Collection) -> Section | None:
    """Return the section on published claims."""
    found = collection.reproductions
    if not found:
        return None
    tables = [
        table
        for one in collection.reproduced
        for table in (beside(one.record, _rows(collection, one.path)), claims_table(one.record))
    ]
    says = [_introduced(record) for record in found]
    notes = [f"On “{claim.says}”: {claim.note}" for record in found for claim in record.claims if claim.note]
    return Section(name="claims", title="Published claims", says=(*says, *notes), tables=tuple(tables))


def _introduced(record: ReproductionRecord) -> str:
    return f"{record.recipe}: {record.title.rstrip('.')}. Source: {record.source}. Scale: {record.scale}."


def _rows(collection: Collection, folder: Path) -> list[Group]:
    """Return the groups with runs in the folder of a reproduction, and of their runs those."""
    home = folder.resolve()
    found = [
        (group, tuple(run for run in group.runs if run.row and run.path.resolve().is_relative_to(home)))
        for group in collection.groups
    ]
    return [attrs.evolve(group, runs=runs) for group, runs in found if runs]

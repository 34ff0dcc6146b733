"""What a reproduction measured beside what was published, and which claims hold."""

from __future__ import annotations

from rcframe.findings.folders import Collection, Group
from rcframe.findings.records import ReproductionRecord
from rcframe.findings.reproduced import beside, claims_table
from rcframe.reporting.section import Section


def section(collection: Collection) -> Section | None:
    """Return the section on published claims."""
    found = collection.reproductions
    if not found:
        return None
    tables = [table for record in found for table in (beside(record, _rows(collection)), claims_table(record))]
    says = [_introduced(record) for record in found]
    notes = [f"On “{claim.says}”: {claim.note}" for record in found for claim in record.claims if claim.note]
    return Section(name="claims", title="Published claims", says=(*says, *notes), tables=tuple(tables))


def _introduced(record: ReproductionRecord) -> str:
    return f"{record.recipe}: {record.title.rstrip('.')}. Source: {record.source}. Scale: {record.scale}."


def _rows(collection: Collection) -> list[Group]:
    """Return the groups that are rows of a matrix."""
    return [group for group in collection.groups if group.first.row]

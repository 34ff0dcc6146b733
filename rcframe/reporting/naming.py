"""What networks are called on a page: as short as tells them apart."""

from __future__ import annotations

from collections.abc import Sequence

from rcframe.findings.folders import FoundRun, Group
from rcframe.session.evidence import Role


def name_of(group: Group, groups: Sequence[Group], role: Role) -> str:
    """Name a network: by its role alone in one group; among several by how it was asked for, or by its group."""
    if len(groups) == 1:
        return role
    typed = _typed(group.first, role)
    alike = [other for other in groups if _typed(other.first, role) == typed]
    return f"{role} {typed}" if role == "teacher" or len(alike) == 1 else f"{role}: {group.name}"


def teacher_of(group: Group) -> str:
    """Say how the teacher of a group was asked for."""
    return _typed(group.first, "teacher")


def _typed(run: FoundRun, role: Role) -> str:
    return run.typed.get(role) or run.settings.get(role, role)

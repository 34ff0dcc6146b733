"""The sections of a report, in their order; each is left out where the runs have nothing for it."""

from __future__ import annotations

from collections.abc import Iterator

from rcframe.findings.folders import Collection
from rcframe.reporting.section import Section
from rcframe.reporting.sections import (
    ablations,
    adversarial,
    claims,
    classes,
    compression,
    curves,
    eps,
    outputs,
    provenance,
    radii,
    responses,
    spent,
    spikes,
    summary,
)

SECTIONS = (
    summary,
    claims,
    eps,
    spent,
    radii,
    compression,
    ablations,
    classes,
    curves,
    outputs,
    responses,
    adversarial,
    spikes,
    provenance,
)


def sections(collection: Collection) -> Iterator[Section]:
    """Yield the sections that these runs have something for."""
    for module in SECTIONS:
        if found := module.section(collection):
            yield found

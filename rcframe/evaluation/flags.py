"""Reasons to distrust a figure, found by holding measurements against each other."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from torch import Tensor

from rcframe.errors import listed
from rcframe.evaluation.oracle import Queries

_FEW = 100


@attrs.define
class Findings:
    """Which test images (n,) one model gets right, by measurement."""

    clean: Tensor
    #: Classes of which no image was measured.
    unseen: tuple[str, ...] = ()
    attacked: dict[str, Tensor] = attrs.field(factory=dict)
    certified: dict[str, Tensor] = attrs.field(factory=dict)
    queries: dict[str, Queries] = attrs.field(factory=dict)
    #: What attacks made of some of the images (k, C, H, W): uint8.
    pictures: dict[str, Tensor] = attrs.field(factory=dict)
    #: Certified radii of some of the images (m,).
    radii: dict[str, Tensor] = attrs.field(factory=dict)


def trust_flags(role: str, findings: Findings) -> Iterator[str]:
    """Yield a sentence for everything that cannot be right, or cannot carry a conclusion."""
    n = findings.clean.numel()
    if n < _FEW and role == "student":
        yield f"only {n} images were measured; differences of a few points mean nothing at this size"
    if findings.unseen and role == "student":
        yield f"no image of {listed(findings.unseen)} was measured; the accuracy is that of the other classes"
    for spec, right in findings.attacked.items():
        if int(right.sum()) > int(findings.clean.sum()):
            yield f"the {role} is more accurate under {spec} than on clean images: the attack helps it"
    for certifier, proved in findings.certified.items():
        for spec, right in findings.attacked.items():
            broken = int((proved & ~right).sum())
            if broken:
                yield f"{spec} broke {broken} images of the {role} that {certifier} certified: one of them is wrong"

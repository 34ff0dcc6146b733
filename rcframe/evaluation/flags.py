"""Reasons to distrust a figure, found by holding measurements against each other."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping

import attrs
import torch
from torch import Tensor

from rcframe.api import Attack
from rcframe.errors import listed
from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.evaluate import Accuracy, commonest
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.trust.chance import MAY_MISS, Lead, Survivors, at_least, speaks_against
from rcframe.evaluation.trust.flag import MISLED, STUCK, Flag, Kind
from rcframe.evaluation.trust.sorts import BY_GRADIENT, Sort, sort_of

_FEW = 100
#: A difference of this size is what people talk about.
_CLAIMED = 0.02
#: A network that only guesses passes for a better one at most this often.
_BY_CHANCE = 0.025


@attrs.define
class Findings:
    """Which test images (n,) one model gets right, by measurement."""

    clean: Tensor
    #: The classes that these images belong to (n,): int64; none where they are not known.
    labels: Tensor = attrs.field(factory=lambda: torch.zeros(0, dtype=torch.int64))
    #: What they were taken for (n,): int16, -1 where an output was no number. None where nobody asked.
    answers: Tensor | None = None
    #: Classes of which no image was measured.
    unseen: tuple[str, ...] = ()
    attacked: dict[str, Tensor] = attrs.field(factory=dict)
    certified: dict[str, Tensor] = attrs.field(factory=dict)
    queries: dict[str, Queries] = attrs.field(factory=dict)
    #: What attacks proposed that they may not.
    faults: dict[str, Faults] = attrs.field(factory=dict)
    #: What attacks made of some of the images (k, C, H, W): uint8.
    pictures: dict[str, Tensor] = attrs.field(factory=dict)
    #: Certified radii of some of the images (m,).
    radii: dict[str, Tensor] = attrs.field(factory=dict)


def trust_flags(role: str, findings: Findings, attacks: Mapping[str, Attack] | None = None) -> Iterator[Flag]:
    """Yield a sentence for everything that cannot be right, or cannot carry a conclusion.

    `attacks` are those of the findings, by spec string: what they rest on decides which may find more. Without them,
    no attack is held against another.
    """
    if role == "student":
        yield from _too_little(findings)
    yield from _no_better_than_chance(role, findings)
    for spec, faults in findings.faults.items():
        yield from _faulty(role, spec, faults)
    yield from _contradicted(role, findings)
    yield from _outdone(role, findings, attacks or {})


def difference_flags(teacher: Findings, student: Findings) -> Iterator[Flag]:
    """Yield a sentence for every attack under which the two differ visibly, but on too few images to tell."""
    for spec, right in student.attacked.items():
        lead, n = Lead.of(right, teacher.attacked[spec]), right.numel()
        if abs(lead.mean) >= _CLAIMED and not lead.beyond_noise:
            needed = n * (lead.half_width / lead.mean) ** 2
            yield Flag(
                Kind.DIFFERENCE,
                f"under {spec} the student is {100 * abs(lead.mean):.1f} points {_ahead(lead)} the teacher, but on "
                f"{n} images that may be chance (± {100 * lead.half_width:.1f}); to tell them apart would take about "
                f"{_rounded_up(needed):,} images, or other seeds",
            )


def ruled_out_flags(students: Collection[str], released: Tensor) -> Iterator[Flag]:
    """Yield a sentence if `students`, by how they were chosen, could not learn all that the teacher let out.

    `released` (n, classes) are logits that left in answer to the measured images. The students are those that ignore
    classes ruled out by a logit of -inf.
    """
    gaps = released.isneginf()
    if students and bool(gaps.any()):
        yield Flag(
            Kind.RULED_OUT,
            f"the teacher rules out {100 * float(gaps.double().mean()):.1f}% of the classes by logits of -inf, which "
            f"{listed(f'`{student}`' for student in students)} leaves out of its loss: nothing keeps the student from "
            f"believing in them, so that its accuracy says little of what such answers give away",
        )


def _ahead(lead: Lead) -> str:
    return "above" if lead.mean > 0 else "below"


def _rounded_up(count: float) -> int:
    """Return two digits of a count, not below it."""
    unit = int(10 ** max(0, len(str(int(count))) - 2))
    return -(-math.ceil(count) // unit) * unit


def _too_little(findings: Findings) -> Iterator[Flag]:
    n = findings.clean.numel()
    if n < _FEW:
        yield Flag(
            Kind.FEW_IMAGES, f"only {n} images were measured; differences of a few points mean nothing at this size"
        )
    if findings.unseen:
        yield Flag(
            Kind.UNSEEN_CLASSES,
            f"no image of {listed(findings.unseen)} was measured; the accuracy is that of the other classes",
        )


def _no_better_than_chance(role: str, findings: Findings) -> Iterator[Flag]:
    """Hold a network against one that answers the commonest of the measured classes without looking.

    The two are compared image by image, by the sign test: where classes are as uneven as 19 to 1, intervals of both
    would overlap for networks that are clearly apart.
    """
    labels, right = findings.labels, findings.clean
    if not len(labels):
        return
    elsewhere = labels != labels.mode().values
    gained, lost = int((right & elsewhere).sum()), int((~right & ~elsewhere).sum())
    # Of so few images nothing could be told, however good the network.
    hopeless = at_least(int(elsewhere.sum()), int(elsewhere.sum()), 0.5) > _BY_CHANCE
    if hopeless or at_least(gained, gained + lost, 0.5) <= _BY_CHANCE:
        return
    found, blind = Accuracy.of(right), commonest(labels)
    low, high = found.interval
    yield Flag(
        Kind.CHANCE,
        f"the {role} has {100 * found.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]% of {found.n:,} images right, "
        f"which does not tell it from one that answers the commonest class every time ({100 * blind.value:.1f}%)"
        f"{_monotonous(findings)}; look at its training and its labels before anything else that was measured of it",
    )


def _monotonous(findings: Findings) -> str:
    said = findings.answers
    if said is None or (said != said[0]).any():
        return ""
    return ": its outputs are no numbers" if said[0] < 0 else ": it answers one class every time"


def _faulty(role: str, spec: str, faults: Faults) -> Iterator[Flag]:
    if faults.outside:
        yield Flag(
            Kind.FAULTS,
            f"{spec} proposed {faults.outside} images of the {role} further away than eps; they were moved back to it, "
            f"where they may do less: its own projection is wrong",
        )
    if faults.broken:
        yield Flag(
            Kind.FAULTS,
            f"{spec} proposed {faults.broken} images of the {role} that are not finite; these count as withstood: the "
            f"figure is too high",
        )


def _contradicted(role: str, findings: Findings) -> Iterator[Flag]:
    for certifier, proved in findings.certified.items():
        for spec, right in findings.attacked.items():
            broken = int((proved & ~right).sum())
            if broken:
                yield Flag(
                    Kind.CERTIFICATE,
                    f"{spec} broke {broken} images of the {role} that {certifier} certified: one of them is wrong",
                )


def _outdone(role: str, findings: Findings, attacks: Mapping[str, Attack]) -> Iterator[Flag]:
    """Yield a sentence for every attack that broke what stronger sorts of attacks did not."""
    gradient, iterated = _named(attacks, BY_GRADIENT), _named(attacks, (Sort.ITERATED,))
    for spec, attack in attacks.items():
        match sort_of(attack):
            case Sort.NOISE:
                yield from _beyond(role, findings, spec, gradient, Kind.NOISE, "chance finds more than they do")
            case Sort.SINGLE_STEP:
                yield from _beyond(role, findings, spec, iterated, Kind.SINGLE_STEP, STUCK)
            case Sort.GRADIENT_FREE:
                what = f"{MISLED}; give them more, and believe the worst case over all attacks"
                yield from _beyond(role, findings, spec, iterated, Kind.GRADIENT_FREE, what)
            case Sort.TRANSFER:
                what = f"knowing the network should help; {MISLED}"
                yield from _beyond(role, findings, spec, iterated, Kind.TRANSFER, what)


def _named(attacks: Mapping[str, Attack], sorts: Collection[Sort]) -> list[str]:
    return [spec for spec, attack in attacks.items() if sort_of(attack) in sorts]


def _beyond(
    role: str, findings: Findings, weaker: str, stronger: list[str], kind: Kind, meaning: str
) -> Iterator[Flag]:
    """Hold an attack against attacks that should have broken whatever it broke."""
    if not stronger:
        return
    left = findings.clean & torch.stack([findings.attacked[spec] for spec in stronger]).all(dim=0)
    right, broken = int(findings.clean.sum()), int((left & ~findings.attacked[weaker]).sum())
    if speaks_against(broken, Survivors(right, right, right), MAY_MISS):
        yield Flag(
            kind,
            f"{weaker} broke {broken} of {int(left.sum())} images of the {role} that withstood {listed(stronger)}: "
            f"{meaning}",
        )

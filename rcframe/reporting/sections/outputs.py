"""What the outputs of networks give away: how sure, how soft, how well calibrated, and how like the teacher's."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rcframe.errors import listed
from rcframe.evaluation.amount import Amount
from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.estimates import estimate, estimate_amounts, intervals_in_words
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.softness import Softness
from rcframe.findings.folders import Collection
from rcframe.findings.overview import amount, percent
from rcframe.findings.tables import NOTHING, Table
from rcframe.reporting.chart import number, sentence
from rcframe.reporting.heats import otherwise_softened
from rcframe.reporting.merging import Same, merged, told_once
from rcframe.reporting.naming import teacher_of
from rcframe.reporting.networks import Network, networks
from rcframe.reporting.profiles import profiles
from rcframe.reporting.reliability import reliability
from rcframe.reporting.section import Exhibit, Section
from rcframe.reporting.turns import in_turn, in_words
from rcframe.session.outputs_report import about_agreement

_SAYS = (
    "Softened outputs are what a student learns from: entropy in nats, peaks are classes above a tenth, the margin is "
    "how much more the first class gets than the second. The calibration error says how far confidence, the "
    "probability of the class that is named, is from accuracy. On few images chance alone makes it more than 0; how "
    "much of it that would be stands beside it.",
)
_COLOURS = "In the matrices, each row is a class and each column what its images get on average; its own class is blue."
_MISTAKES = (
    "Among the teacher's mistakes: of the images that the teacher gets wrong, whose number stands behind `of`; the "
    "interval is over these alone."
)
_MISTAKES_OF_SEEDS = (
    "Among the teacher's mistakes: of the images that the teacher gets wrong, counted together over all seeds; their "
    "number stands behind `of`. The interval is over these as if each were another image, and holds no noise of the "
    "seeds."
)
_OF_ONE_SEED = (
    "Tables are means over the seeds. Each drawing is of a single seed, the lowest; where there are several, its "
    "caption says which."
)
_MOST_DRAWN = 6


def section(collection: Collection) -> Section | None:
    """Return the section on outputs."""
    found = networks(collection.groups)
    tables = [table for table in (_agreement(found), *_softness(found), _calibration(found)) if table.rows]
    if not tables:
        return None
    different = _different(found)
    shown = in_turn(different, _MOST_DRAWN, lambda network: teacher_of(network.group))
    exhibits = tuple(_exhibits(shown))
    says = [
        *_SAYS,
        *([_COLOURS] if any(one.heat for one in exhibits) else []),
        *([_OF_ONE_SEED] if exhibits and any(len(network.group.runs) > 1 for network in shown) else []),
        *_left_out(shown, different),
    ]
    return Section(
        name="outputs",
        title="What the outputs give away",
        says=tuple(says),
        tables=tuple(tables),
        exhibits=exhibits,
    )


# -- tables ---------------------------------------------------------------------------------------------------------


def _agreement(found: Sequence[Network]) -> Table:
    known = [network for network in found if len(network.likenesses) == len(network.outputs)]
    columns = (
        "network",
        "images",
        "names the teacher's class (%)",
        "always one class (%)",
        "among the teacher's mistakes (%)",
        "KL (nats)",
    )
    notes = (
        f"{_intervals(known)} KL is KL(teacher || student) at temperature 1. The teacher is the network itself, "
        "whatever it releases. Always one class: how often one agrees that names the teacher's commonest class every "
        "time.",
        _MISTAKES if all(len(network.outputs) == 1 for network in known) else _MISTAKES_OF_SEEDS,
        *_without_looking(known),
        *told_once([Same((network,)) for network in known]),
    )
    rows = tuple((network.name, *_agreement_cells(network.likenesses)) for network in known)
    return Table("Agreement with the teacher", columns, rows, notes)


def _agreement_cells(known: Sequence[Likeness]) -> Iterator[str]:
    yield f"{min(likeness.agreement.n for likeness in known):,}"
    yield _fraction([likeness.agreement for likeness in known])
    blind = [likeness.blind.value for likeness in known if likeness.blind]
    yield f"{100 * sum(blind) / len(blind):.1f}" if len(blind) == len(known) else NOTHING
    mistakes = [likeness.among_mistakes for likeness in known]
    count = sum(accuracy.n for accuracy in mistakes)
    pooled = Accuracy(sum(accuracy.correct for accuracy in mistakes), count)
    low, high = pooled.interval
    # Each seed's teacher makes its own mistakes, so they are counted together.
    yield f"{100 * pooled.value:.1f} [{100 * low:.1f}, {100 * high:.1f}] of {count:,}" if count else NOTHING
    yield _mean([likeness.divergence for likeness in known])


def _without_looking(known: Sequence[Network]) -> Iterator[str]:
    if idle := [f"`{network.name}`" for network in known if about_agreement(network.likenesses)]:
        yield f"No more than by always naming one class: {listed(idle)}. There, agreement is no sign of imitation."


def _softness(found: Sequence[Network]) -> Iterator[Table]:
    """Yield a table for each temperature, since only what was softened alike can be held against each other."""
    heats = dict.fromkeys(heat for network in found for heat in network.by_temperature if heat is not None)
    for heat in sorted(heats):
        known = [network for network in found if heat in network.by_temperature]
        same = merged(known)
        rows = tuple(row for one in same for row in _softness_rows(one, heat))
        title = f"Outputs softened at temperature {number(heat)}"
        notes = (_intervals(known), *told_once(same), *otherwise_softened([one.named for one in same], heat))
        yield Table(title, ("network", "entropy", "peaks", "margin"), rows, notes)


def _softness_rows(same: Same, heat: float) -> Iterator[tuple[str, ...]]:
    yield from _softness_row(same.named.name, [one.softness for one in same.named.by_temperature[heat]])
    for network in same.networks:
        released = [one.released for one in network.by_temperature[heat]]
        yield from _softness_row(f"{network.name}, what it releases", released)


def _softness_row(name: str, softness: Sequence[Softness | None]) -> Iterator[tuple[str, ...]]:
    known = [one for one in softness if one]
    if len(known) == len(softness):
        yield (
            name,
            _mean([one.entropy for one in known]),
            _mean([one.peaks for one in known]),
            _mean([one.margin for one in known], most=1),
        )


def _calibration(found: Sequence[Network]) -> Table:
    known = [network for network in found if len(network.calibrations) == len(network.outputs)]
    columns = ("network", "images", "calibration error (%)", "by chance alone (%)", "confidence (%)", "Brier score")
    score = "The Brier score is the squared distance of the probabilities from the label's, 0 to 2."
    same = merged(known)
    rows = tuple((one.named.name, *_calibration_cells(one.named.calibrations)) for one in same)
    return Table("Calibration", columns, rows, (f"{_intervals(known)} {score}", *told_once(same)))


def _calibration_cells(known: Sequence[Calibration]) -> Iterator[str]:
    yield f"{min(one.error.n for one in known):,}"
    yield _mean([one.error for one in known], 0.01, most=1)
    yield f"{100 * sum(one.by_chance for one in known) / len(known):.2f}"
    yield _mean([one.confidence for one in known], 0.01, most=1)
    yield _mean([one.brier for one in known], most=2)


def _intervals(known: Sequence[Network]) -> str:
    return intervals_in_words([len(network.outputs) for network in known])


def _fraction(accuracies: Sequence[Accuracy]) -> str:
    return percent(estimate([one.value for one in accuracies], min(one.n for one in accuracies)))


def _mean(amounts: Sequence[Amount | None], unit: float = 1.0, most: float = math.inf) -> str:
    known = [one for one in amounts if one]
    return amount(estimate_amounts(known), unit, most) if len(known) == len(amounts) else NOTHING


# -- drawings -------------------------------------------------------------------------------------------------------


def _different(found: Sequence[Network]) -> list[Network]:
    """Leave out networks of which another shows all there is to draw; of each guard there is what leaves."""
    return [
        network
        for same in merged(found)
        for network in (same.named, *(other for other in same.networks if other.guarded and other is not same.named))
    ]


def _exhibits(networks: Sequence[Network]) -> Iterator[Exhibit]:
    shown = list(enumerate(networks, 1))
    drawn: set[tuple[tuple[str, ...], ...]] = set()
    for place, network in shown:
        for one in profiles(network.group.first, network.role, _of_seed(network), f"profile-{place}"):
            # A teacher that is guarded in one run and not in another is the same network.
            if one.data.rows not in drawn:
                drawn.add(one.data.rows)
                yield one
    for place, network in shown:
        calibration = network.outputs[0].calibration
        if calibration and all(calibration != other.outputs[0].calibration for _, other in shown[: place - 1]):
            yield reliability(calibration, _of_seed(network), f"reliability-{place}")


def _of_seed(network: Network) -> str:
    return f"{network.name}, seed {network.group.seeds[0]}" if len(network.group.runs) > 1 else network.name


def _left_out(shown: Sequence[Network], found: Sequence[Network]) -> Iterator[str]:
    if len(shown) < len(found):
        yield sentence(f"{in_words(shown, found, ' networks')} are drawn")
    evidence = found[0].group.first.evidence
    if evidence and evidence.peaks and not evidence.profiles:
        yield f"Mean outputs class by class are left out: {len(evidence.classes)} classes are too many to look at."

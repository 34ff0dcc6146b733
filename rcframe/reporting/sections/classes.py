"""Which classes a network knows, and what it takes the others for, before and under attack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from rcframe.evaluation.estimates import estimate
from rcframe.evaluation.evaluate import Accuracy
from rcframe.findings.figures import ROLES, model_of
from rcframe.findings.folders import Collection, FoundRun, Group
from rcframe.findings.overview import percent
from rcframe.findings.tables import NOTHING, Table
from rcframe.reporting.chart import sentence
from rcframe.reporting.confusion import MOST_CLASSES, SHOWN_CLASSES, Confusion, chosen, heat_of, table_of
from rcframe.reporting.naming import teacher_of
from rcframe.reporting.section import Exhibit, Section
from rcframe.reporting.turns import in_turn, in_words
from rcframe.session.evidence import About, Role
from rcframe.session.report import Measurement, ModelReport

_GROUPS = 3


@attrs.frozen(eq=False)
class Confused:
    """What one network of a run takes the classes for in one measurement."""

    role: Role
    words: str
    confusion: Confusion


def section(collection: Collection) -> Section | None:
    """Return the section on classes."""
    groups = [group for group in collection.groups if model_of(group.first.report, "student").clean.by_class]
    if not groups:
        return None
    shown = in_turn(groups, _GROUPS, teacher_of)
    tables = {group.name: _by_class(group, f": {group.name}" if len(groups) > 1 else "") for group in shown}
    exhibits = tuple(_exhibits(shown, several=len(groups) > 1))
    return Section(
        name="classes",
        title="Classes",
        says=tuple(_says(shown, groups, bool(exhibits))),
        tables=tuple(_lowest(table) for table in tables.values()),
        folded=tuple(table for table in tables.values() if len(table.rows) > MOST_CLASSES),
        exhibits=exhibits,
    )


def _says(shown: Sequence[Group], groups: Sequence[Group], confused: bool) -> Iterator[str]:
    of_seeds = "Of several seeds, the lowest is shown. " if any(len(group.runs) > 1 for group in shown) else ""
    yield f"{of_seeds}Intervals are those of the images of the class alone."
    if confused:
        yield (
            "Below, each row is a class and each column what its images are taken for: how many, and in percent of "
            "the row. Blue is right, orange wrong."
        )
    if len(shown) < len(groups):
        yield sentence(f"{in_words(shown, groups, ' configurations')} are shown")
    classes = max(len(model_of(group.first.report, "student").clean.by_class) for group in shown)
    if classes > MOST_CLASSES:
        yield (
            f"Of {classes} classes, tables show the {MOST_CLASSES} that the student knows least, under attack if there "
            f"is one, and matrices the {SHOWN_CLASSES} that are confused most often."
        )


# -- accuracy -------------------------------------------------------------------------------------------------------


def _by_class(group: Group, of: str) -> Table:
    """Return the accuracy of both networks on each class, clean and under attack."""
    models = [(role, model_of(group.first.report, role)) for role in ROLES]
    measured = {
        f"{role}{words}": found.by_class
        for role, model in models
        for words, found in ((" clean", model.clean), (" under attack", _hardest(model)))
        if found
    }
    clean = models[-1][1].clean.by_class
    rows = tuple(
        (name, f"{accuracy.n:,}", *(_cell(by_class, name) for by_class in measured.values()))
        for name, accuracy in clean.items()
    )
    attacks = list(models[-1][1].attacked)
    each = "each of " if len(attacks) > 1 else ""
    notes = (f"Under attack: right under {each}{', '.join(attacks)}{_eps(models[-1][1])}.",) if attacks else ()
    return Table(f"Accuracy by class{of}", ("class", "images", *measured), rows, notes)


def _hardest(model: ModelReport) -> Measurement | None:
    """Return what is left under every attack."""
    return model.worst_case or next(iter(model.attacked.values()), None)


def _eps(model: ModelReport) -> str:
    protocol = next((measured.protocol for measured in model.attacked.values() if measured.protocol), None)
    return f" at eps {protocol.eps}" if protocol else ""


def _cell(by_class: Mapping[str, Accuracy], name: str) -> str:
    found = by_class.get(name)
    return NOTHING if found is None else percent(estimate([found.value], found.n))


def _lowest(table: Table) -> Table:
    """Return the classes that the student knows least under attack, if there are many."""
    if len(table.rows) <= MOST_CLASSES:
        return table
    rows = sorted(table.rows, key=lambda row: float(row[-1].partition(" ")[0]))[:MOST_CLASSES]
    return attrs.evolve(table, title=f"{table.title}, the {MOST_CLASSES} lowest", rows=tuple(rows))


# -- confusion ------------------------------------------------------------------------------------------------------


def _exhibits(groups: Sequence[Group], *, several: bool) -> Iterator[Exhibit]:
    drawn: set[tuple[Role, bytes]] = set()
    for number, group in enumerate(groups, 1):
        found = list(_confused(group.first))
        shown = chosen([one.confusion for one in found]) if found else []
        for place, one in enumerate(found):
            # A network that several configurations share is shown once.
            key = (one.role, one.confusion.counts.tobytes())
            if key not in drawn:
                drawn.add(key)
                of = f": {group.name}" if several else ""
                caption = sentence(f"What the {one.role} takes the classes for, {one.words}{of}")
                yield Exhibit(
                    name=f"confusion-{number}-{place + 1}",
                    caption=caption,
                    data=table_of(one.confusion, caption),
                    heat=heat_of(one.confusion, shown),
                )


def _confused(run: FoundRun) -> Iterator[Confused]:
    """Yield what both networks answer, clean and under the attack that leaves least."""
    evidence = run.evidence
    if evidence is None or not len(evidence.truth):
        return
    for role in ROLES:
        for what, words in _asked(model_of(run.report, role)):
            answers = evidence.answers.get(About(role, what))
            if answers is not None:
                yield Confused(role, words, Confusion.of(evidence.truth, answers, evidence.classes))


def _asked(model: ModelReport) -> Iterator[tuple[str, str]]:
    yield "clean", "clean"
    if model.attacked:
        strongest = min(model.attacked, key=lambda spec: model.attacked[spec].accuracy)
        which = ", its strongest attack" if len(model.attacked) > 1 else ""
        yield strongest, f"under `{strongest}`{_eps(model)}{which}"

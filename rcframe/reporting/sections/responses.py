"""What networks answer to the same pictures, softened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

from rcframe.findings.folders import Collection, Group
from rcframe.findings.tables import Table
from rcframe.reporting.chart import number, told_apart
from rcframe.reporting.drawing import BarRow, bar_swatch, draw_bars
from rcframe.reporting.naming import name_of, teacher_of
from rcframe.reporting.pixels import data_uri, small
from rcframe.reporting.section import Exhibit, Key, Picture, Section, Strip
from rcframe.reporting.turns import in_turn, in_words
from rcframe.session.evidence import Evidence, Role

_PICTURES = 4
_NETWORKS = 4
_CLASSES = 10
_TEMPERATURE = 4.0


@attrs.frozen(eq=False)
class Answer:
    """What one network answers to the pictures: probabilities (k, classes)."""

    name: str
    #: How the teacher of its run was asked for.
    teacher: str
    softened: NDArray[np.float64]


def section(collection: Collection) -> Section | None:
    """Return the section on responses."""
    groups = _same_pictures(collection.groups)
    if not groups:
        return None
    evidence, heat = _evidence(groups[0]), _temperature(groups)
    exhibits = list(_exhibits(groups, evidence, heat))
    if not exhibits:
        return None
    says = (
        f"Softmax of the outputs at temperature {number(heat)}, in percent, for pictures of the test set. "
        "What a student learns from is how its teacher shares out the wrong answers."
        + (" Of several seeds, the lowest is shown." if any(len(group.runs) > 1 for group in groups) else ""),
    )
    return Section(name="responses", title="Answers to the same pictures", says=says, exhibits=tuple(exhibits))


def _evidence(group: Group) -> Evidence:
    assert group.first.evidence
    return group.first.evidence


def _same_pictures(groups: Sequence[Group]) -> list[Group]:
    """Return the groups that answered the same pictures as the first that kept any."""
    kept = [group for group in groups if group.first.evidence and group.first.evidence.logits]
    kept = [group for group in kept if len(_evidence(group).pictures)]
    return [group for group in kept if _alike(_evidence(group), _evidence(kept[0]))]


def _alike(one: Evidence, other: Evidence) -> bool:
    return one.classes == other.classes and np.array_equal(one.pictures, other.pictures)


def _temperature(groups: Sequence[Group]) -> float:
    """Return the temperature that these runs measured at, or older ones are set to, if they agree on one."""
    softness = [group.first.report.student.outputs.softness for group in groups]
    measured = {each.temperature for each in softness if each}
    if measured:
        return measured.pop() if len(measured) == 1 else _TEMPERATURE
    found = {
        text
        for group in groups
        for name, text in group.first.settings.items()
        if name.partition(".")[2] == "temperature" and name.startswith(("student", "teacher"))
    }
    return float(found.pop()) if len(found) == 1 else _TEMPERATURE


def _exhibits(groups: Sequence[Group], evidence: Evidence, heat: float) -> Iterator[Exhibit]:
    teachers = _answers(groups, "teacher", heat)
    students = _answers(groups, "student", heat)
    if len(teachers) == 1 and students:
        yield _exhibit("responses", "Answers of the teacher and of students", [*teachers, *students], evidence)
        return
    if teachers:
        yield _exhibit("responses-teachers", "Answers of the teachers", teachers, evidence)
    if students:
        yield _exhibit("responses-students", "Answers of the students", students, evidence)


def _answers(groups: Sequence[Group], role: Role, heat: float) -> list[Answer]:
    """Return the answers of a role, each network that several groups share once; of a guarded teacher, what leaves."""
    found: dict[bytes, Answer] = {}
    for group in groups:
        evidence, name = _evidence(group), name_of(group, groups, role)
        logits = evidence.logits.get(role)
        if role == "teacher" and len(evidence.released):
            logits, name = evidence.released, f"{name}, what it releases"
        if logits is not None:
            found.setdefault(logits.tobytes(), Answer(name, teacher_of(group), softmax(logits, heat)))
    return list(found.values())


def softmax(logits: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return probabilities (k, classes) of logits (k, classes)."""
    scaled = logits.astype(np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _exhibit(name: str, what: str, answers: Sequence[Answer], evidence: Evidence) -> Exhibit:
    shown = in_turn(answers, _NETWORKS, lambda answer: answer.teacher)
    pictures = _chosen(evidence.labels)
    largest = 105 * max(float(answer.softened[pictures].max()) for answer in shown)
    rows, strips = [], []
    for picture in pictures:
        label = evidence.classes[evidence.labels[picture]]
        classes = _shown_classes(shown, picture)
        bars = [
            BarRow(evidence.classes[one], tuple(float(100 * answer.softened[picture, one]) for answer in shown))
            for one in classes
        ]
        words = f"Picture {picture + 1}, of class {label}"
        drawing = draw_bars(bars, "softened output (%)", words, largest=largest)
        strips.append(Strip(words, (Picture(data_uri(small(evidence.pictures[picture])), label),), drawing))
        rows += [(str(picture + 1), label, bar.name, *map(number, bar.values)) for bar in bars]
    more = f"; {in_words(shown, answers, '')} are drawn" if len(shown) < len(answers) else ""
    caption = f"{what}{more}."
    names = told_apart([answer.name for answer in shown])
    return Exhibit(
        name=name,
        caption=caption,
        data=Table(caption, ("picture", "its class", "answer", *names), tuple(rows)),
        legend=tuple(Key(name, bar_swatch(place)) for place, name in enumerate(names)),
        strips=tuple(strips),
    )


def _chosen(labels: NDArray[np.int64]) -> list[int]:
    """Choose pictures of different classes."""
    firsts = {int(label): place for place, label in reversed(list(enumerate(labels)))}
    return sorted(firsts.values())[:_PICTURES]


def _shown_classes(answers: Sequence[Answer], picture: int) -> list[int]:
    """Choose the classes that get most of some answer, in their order."""
    most = np.max([answer.softened[picture] for answer in answers], axis=0)
    return sorted(int(one) for one in np.argsort(-most, kind="stable")[:_CLASSES])

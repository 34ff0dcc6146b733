from __future__ import annotations

import math

import pytest
import torch

from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.ladder import Ladder, Start, Way
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.tally import Tally
from rcframe.evaluation.verdict import Moved, Verdict
from rcframe.options import Number
from rcframe.session.outcomes import Fall, Outcome, Outcomes

POINTS = tuple(map(Number, ("0", "0.1", "0.2", "0.3")))
CLEAN = torch.tensor([True, True, True, False])


def outcome(*right: bool, breaking: list[float] | None = None) -> Outcome:
    fall = None if breaking is None else Fall(POINTS, torch.tensor(breaking))
    return Outcome(right=torch.tensor(right), fall=fall)


def outcomes(**attacked: Outcome) -> Outcomes:
    return Outcomes(labels=torch.zeros(4, dtype=torch.int64), clean=Outcome(right=CLEAN), attacked=attacked)


def ladder(way: Way, largest: torch.Tensor, moved: torch.Tensor | None = None) -> Ladder:
    return Ladder("curve", (0.1, 0.2, 0.3), Start(CLEAN, largest, moved), way, {})


def test_the_breaking_radii_of_a_search_are_points_zero_for_wrong_images_and_infinite_for_none() -> None:
    known = ladder(Way.KNOWN, torch.tensor([True, False, False, False]), torch.tensor([0.0, 0.05, 0.25, 0.0]))
    fall = Fall.of(POINTS, known)
    assert fall.breaking.tolist() == pytest.approx([math.inf, 0.1, 0.3, 0.0])
    assert [fall.right(point).tolist() for point in POINTS] == [
        [True, True, True, False],
        [True, False, True, False],
        [True, False, True, False],
        [True, False, False, False],
    ]


def test_what_only_a_smaller_radius_broke_is_broken_at_the_largest_too() -> None:
    """The second image withstood the largest radius and fell at 0.1 as class 2; the third fell at the largest."""
    tally = Tally("fgsm", 4, {}, faults=Faults(1, 2), queries=Queries(9, 9, 1))
    tally.note(0, Verdict(torch.tensor([True, True, False, False]), torch.tensor([0, 0, 1, 3]), None, moved(2, 0.3)))
    climb = ladder(Way.ASCENT, torch.tensor([True, True, False, False]))
    part = Tally("part", 3, {})
    part.note(0, Verdict(torch.tensor([True, False, True]), torch.tensor([0, 2, 0]), None, moved(1, 0.1, 3)))
    climb.note(1, torch.tensor([0, 1, 2]), part.read(), part, part.linf)
    climb.faults.outside, climb.queries.images = 5, 30
    found = Outcome.of(tally.read(), tally).along(POINTS, climb)
    assert found.right.tolist() == [True, False, False, False]
    assert found.answers is not None
    assert found.linf is not None
    assert found.answers.tolist() == [0, 2, 1, 3]
    assert found.linf.tolist() == pytest.approx([0, 0.1, 0.3, 0])
    assert found.faults == Faults(6, 2)
    assert found.queries == Queries(9, 9, 1)
    assert found.fall is not None
    assert found.fall.queries == Queries(images=30)
    assert found.fall.breaking.tolist() == pytest.approx([math.inf, 0.1, 0.3, 0.0])


def moved(which: int, far: float, count: int = 4) -> Moved:
    distance = torch.zeros(count)
    distance[which] = far
    return Moved(distance, 2 * distance)


def test_the_worst_case_is_taken_image_by_image() -> None:
    """Each attack leaves two of three images, and together they leave one."""
    worst = outcomes(a=outcome(True, True, False, False), b=outcome(True, False, True, False)).worst_case
    assert worst is not None
    assert worst.right.tolist() == [True, False, False, False]
    assert worst.fall is None


def test_the_worst_case_of_curves_breaks_where_the_first_attack_does() -> None:
    a = outcome(True, True, False, False, breaking=[math.inf, math.inf, 0.2, 0])
    b = outcome(True, False, False, False, breaking=[math.inf, 0.3, 0.1, 0])
    worst = outcomes(a=a, b=b).worst_case
    assert worst is not None
    assert worst.fall is not None
    assert worst.fall.points == POINTS
    assert worst.fall.breaking.tolist() == pytest.approx([math.inf, 0.3, 0.1, 0])


def test_one_attack_or_none_has_no_worst_case() -> None:
    assert outcomes().worst_case is None
    assert outcomes(a=outcome(True, True, True, False)).worst_case is None


def test_outcomes_go_by_the_names_of_evidence() -> None:
    found = outcomes(a=outcome(*[True] * 4), b=outcome(*[False] * 4))
    found.certified["a"] = outcome(*[False] * 4)
    assert [name for name, _ in found.named()] == ["clean", "a", "b", "worst case", "certified by a"]
    assert [name for name, _ in outcomes().named()] == ["clean"]


def test_distrust_looks_at_the_same_judgements() -> None:
    found = outcomes(a=Outcome(right=torch.tensor([True] * 4), faults=Faults(1, 0), queries=Queries(5, 0, 1)))
    found.unseen, found.radii["c"] = ("cat",), torch.tensor([0.1])
    found.clean = Outcome(right=CLEAN, answers=torch.tensor([0, 1, 2, 3]))
    findings = found.findings()
    assert torch.equal(findings.clean, CLEAN)
    assert torch.equal(findings.labels, found.labels)
    assert findings.answers is not None
    assert findings.answers.tolist() == [0, 1, 2, 3]
    assert findings.attacked["a"].tolist() == [True] * 4
    assert findings.faults == {"a": Faults(1, 0)}
    assert findings.queries == {"a": Queries(5, 0, 1)}
    assert findings.unseen == ("cat",)
    assert list(findings.radii) == ["c"]

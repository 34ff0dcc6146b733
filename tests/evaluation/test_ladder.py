from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.ladder import Ladder, Start, Way
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.tally import Tally
from rcframe.storage.tree import flatten, unflatten

POINTS = (0.1, 0.2, 0.3, 0.4, 0.5)
TOP = len(POINTS)


def start_of(true: Tensor, points: tuple[float, ...] = POINTS, clean: Tensor | None = None) -> Start:
    """What is known of images that break at these rungs (n,); 0 is wrong as it is, one more than there are is never."""
    right = true > 0 if clean is None else clean
    return Start(right, right & (true > len(points)))


def ladder_of(true: Tensor, way: Way = Way.SEARCH, points: tuple[float, ...] = POINTS) -> Ladder:
    return Ladder("curve", points, start_of(true, points), way, {})


def tally_of(which: Tensor) -> Tally:
    """A tally whose answers and distances name the images."""
    tally = Tally("part", len(which), {})
    tally.answers, tally.linf, tally.l2 = which.to(torch.int16), which / 1.0, which * 2.0
    return tally


def searched(ladder: Ladder, true: Tensor, most_images: int = 5) -> list[tuple[int, list[int]]]:
    """Answer whatever a search asks, and return what it asked."""
    asked = []
    while batch := ladder.next(most_images):
        rung, which = batch
        asked.append((rung, which.tolist()))
        ladder.note(rung, which, true[which] > rung, tally_of(which))
        assert len(asked) <= 50 * len(true), "it does not end"
    return asked


RUNGS = st.lists(st.integers(0, TOP + 1), min_size=1, max_size=40).map(torch.tensor)


@given(RUNGS, st.sampled_from([Way.SEARCH, Way.ASCENT]), st.data())
def test_every_image_breaks_where_it_does_and_the_rung_below_was_tried(
    true: Tensor, way: Way, data: st.DataObject
) -> None:
    ladder = ladder_of(true, way)
    if data.draw(st.booleans()) and len(which := ladder.unguided):
        guesses = data.draw(st.lists(st.integers(0, TOP), min_size=len(which), max_size=len(which)))
        ladder.guide(which, torch.tensor(guesses))
    asked = searched(ladder, true)
    assert torch.equal(ladder.breaks, true)
    assert ladder.done == len(true)
    tried = {(rung, image) for rung, which in asked for image in which}
    for image, breaks in enumerate(true.tolist()):
        if 0 < breaks <= TOP:
            assert breaks == 1 or (breaks - 1, image) in tried
            assert breaks == TOP or (breaks, image) in tried
        elif breaks == 0 or way is Way.SEARCH:
            assert not any(other == image for _, other in tried)
    assert all(0 < rung < TOP and 0 < len(which) <= 5 for rung, which in asked)
    assert len(tried) == sum(len(which) for _, which in asked), "nothing is tried twice"


def test_a_good_guess_is_confirmed_with_two_attempts() -> None:
    """The guess is one too far on the whole: 4 is where it begins, 3 withstands."""
    true = torch.tensor([4])
    ladder = Ladder("curve", tuple(range(1, 11)), Start(true > 0, true > 10), Way.SEARCH, {})
    ladder.guide(ladder.unguided, torch.tensor([5]))
    assert searched(ladder, true) == [(4, [0]), (3, [0])]


def test_a_bad_guess_is_left_in_growing_strides() -> None:
    true = torch.tensor([17])
    ladder = Ladder("curve", tuple(range(1, 21)), Start(true > 0, true > 20), Way.SEARCH, {})
    ladder.guide(ladder.unguided, torch.tensor([3]))
    assert [rung for rung, _ in searched(ladder, true)] == [2, 3, 4, 6, 10, 18, 17, 16]


def test_without_a_guess_the_range_is_halved() -> None:
    true = torch.tensor([2])
    ladder = Ladder("curve", tuple(range(1, 17)), Start(true > 0, true > 16), Way.SEARCH, {})
    assert len(ladder.unguided) == 1
    ladder.guide(ladder.unguided, torch.tensor([0]))
    assert len(ladder.unguided) == 0
    assert [rung for rung, _ in searched(ladder, true)] == [8, 4, 2, 1]


def test_what_withstood_the_largest_radius_is_not_asked_again_by_a_search() -> None:
    ladder = ladder_of(torch.tensor([TOP + 1, 0, TOP + 1]))
    assert ladder.next(5) is None
    assert ladder.breaks.tolist() == [TOP + 1, 0, TOP + 1]


def test_an_ascent_asks_there_too_from_below_and_drops_what_broke() -> None:
    """The single step that fails at the largest radius may succeed at a smaller one."""
    true = torch.tensor([2, TOP + 1, 4])
    ladder = Ladder(
        "curve", POINTS, Start(torch.ones(3, dtype=torch.bool), torch.tensor([True, True, False])), Way.ASCENT, {}
    )
    assert searched(ladder, true) == [(1, [0, 1, 2]), (2, [0, 1, 2]), (3, [1, 2]), (4, [1, 2])]
    assert ladder.breaks.tolist() == [2, TOP + 1, 4]


def test_where_the_distance_says_everything_nothing_is_asked() -> None:
    clean = torch.tensor([True, True, True, True, False])
    moved = torch.tensor([0.05, 0.2, 0.2000001, 0.0, 0.0])
    start = Start(clean, torch.tensor([False, False, False, True, False]), moved)
    ladder = Ladder("curve", POINTS, start, Way.KNOWN, {})
    assert ladder.next(5) is None
    assert ladder.breaks.tolist() == [1, 2, 2, TOP + 1, 0]


def test_how_far_an_image_was_moved_spares_the_radii_beyond() -> None:
    start = Start(torch.tensor([True]), torch.tensor([False]), torch.tensor([0.15]))
    ladder = Ladder("curve", POINTS, start, Way.SEARCH, {})
    rung, which = ladder.next(5) or pytest.fail("nothing is asked")
    assert rung == 1
    ladder.note(1, which, torch.tensor([True]), tally_of(which))
    assert ladder.breaks.tolist() == [2]


def test_a_distance_below_what_was_withstood_does_not_count() -> None:
    """An attack that fails at 0.2 and then finds an image closer than that at 0.4 contradicts itself."""
    start = Start(torch.tensor([True]), torch.tensor([False]))
    ladder, which = Ladder("curve", POINTS, start, Way.SEARCH, {}), torch.tensor([0])
    ladder.note(2, which, torch.tensor([True]), tally_of(which))
    ladder.note(4, which, torch.tensor([False]), tally_of(which), torch.tensor([0.1]))
    assert ladder.breaks.tolist() == [3]
    assert ladder.next(5) is None


def test_small_groups_are_joined_by_their_neighbours_as_far_as_these_learn_something() -> None:
    """Three begin at 5, one each at 6 and 8, and one at 3 that is known to be right there."""
    points = tuple(range(1, 13))
    right = torch.ones(6, dtype=torch.bool)
    ladder = Ladder("curve", points, Start(right, ~right), Way.SEARCH, {})
    ladder.guide(torch.arange(6), torch.tensor([6, 6, 6, 7, 9, 6]))
    ladder.note(5, torch.tensor([5]), torch.tensor([False]), tally_of(torch.tensor([5])))
    rung, which = ladder.next(10) or pytest.fail("nothing is asked")
    assert rung == 5
    assert which.tolist() == [0, 1, 2, 3]


def test_what_an_image_was_taken_for_is_that_of_its_last_break() -> None:
    true = torch.tensor([TOP + 1, 2, 4])
    ladder = ladder_of(true)
    searched(ladder, true)
    assert ladder.answers.tolist() == [0, 1, 2]
    assert ladder.linf.tolist() == [0, 1, 2]
    assert ladder.l2.tolist() == [0, 2, 4]


def as_read(state: Mapping[str, object]) -> Mapping[str, object]:
    """What a file gives back."""
    plain, tensors = flatten(state)
    return cast("Mapping[str, object]", unflatten(json.loads(json.dumps(plain)), [t.clone() for t in tensors]))


@given(st.integers(0, 12), st.sampled_from([Way.SEARCH, Way.ASCENT]), st.booleans())
def test_a_search_that_goes_on_asks_what_it_would_have_asked(stop: int, way: Way, guided: bool) -> None:
    true = torch.tensor([3, 0, 6, 1, 5, 2, 4, 3, 6, 1])
    whole, stopped, again = (ladder_of(true, way) for _ in range(3))
    if guided:
        for ladder in (whole, stopped):
            ladder.guide(ladder.unguided, torch.arange(len(ladder.unguided)) % (TOP + 1))
    asked = searched(whole, true, 3)
    before = list[tuple[int, list[int]]]()
    while len(before) < stop and (batch := stopped.next(3)):
        before.append((batch[0], batch[1].tolist()))
        stopped.note(batch[0], batch[1], true[batch[1]] > batch[0], tally_of(batch[1]))
    stopped.queries.images, stopped.faults.broken = 7, 2
    state = stopped.state_dict()
    again.load_state_dict(as_read(state))
    assert before + searched(again, true, 3) == asked
    assert torch.equal(again.breaks, whole.breaks)
    assert torch.equal(again.answers, whole.answers)
    assert (again.queries, again.faults) == (Queries(images=7), Faults(broken=2))
    assert cast(Tensor, state["low"]).tolist() == cast(Tensor, stopped.state_dict()["low"]).tolist()


def test_a_search_is_determined_by_its_name_its_radii_and_what_it_was_told() -> None:
    start = start_of(torch.tensor([1]))
    named = Ladder("a", (0.1, 1 / 3), start, Way.SEARCH, {"threat": "linf"})
    assert named.identity() == {"name": "a", "threat": "linf", "radii": "0.1 0.3333333333333333"}
    assert Ladder("a", (0.1,), start, Way.SEARCH, None).identity() is None


def test_a_guess_is_worth_nothing_where_there_are_few_radii_or_none_are_searched() -> None:
    true = torch.tensor([1, 2])
    assert len(Ladder("a", (0.1, 0.2, 0.3), start_of(true, (0.1, 0.2, 0.3)), Way.SEARCH, {}).unguided) == 0
    assert len(ladder_of(true, Way.ASCENT).unguided) == 0
    assert ladder_of(torch.tensor([0, 3, TOP + 1, 2])).unguided.tolist() == [1, 3]

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor

from rcframe.evaluation.album import Album
from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.tally import Tally
from rcframe.evaluation.verdict import Moved, Verdict
from rcframe.storage.tree import flatten, unflatten
from rcframe.training.compute import Compute

RIGHT = torch.tensor([True, False, True, True, False])


def verdict(right: Tensor, judged: Tensor | None = None) -> Verdict:
    """A verdict whose answers and distances tell the images apart."""
    number = torch.arange(1, len(right) + 1)
    return Verdict(right, number - 2, judged, Moved(number / 4, number / 2))


def noted(*spans: tuple[int, int]) -> Tally:
    """A tally of five images with judgements in these spans."""
    tally = Tally("clean", 5, {})
    for start, end in spans:
        tally.note(start, verdict(RIGHT[start:end]))
    return tally


def as_read(state: Mapping[str, object]) -> Mapping[str, object]:
    """What a file gives back."""
    plain, tensors = flatten(state)
    return cast("Mapping[str, object]", unflatten(json.loads(json.dumps(plain)), [t.clone() for t in tensors]))


def test_judgements_come_back_in_their_places() -> None:
    assert torch.equal(noted((3, 5), (0, 3)).read(), RIGHT)


def test_a_span_is_judged_when_every_image_of_it_is() -> None:
    tally = noted((1, 3))
    spans = [(0, 1), (1, 2), (1, 3), (2, 4), (0, 5), (3, 5)]
    assert [tally.judged(*span) for span in spans] == [False, True, True, False, False, False]


def test_a_tally_that_is_not_done_cannot_be_read() -> None:
    with pytest.raises(RuntimeError, match="`clean` was read before it was done"):
        noted((0, 4)).read()


def test_no_image_gives_no_judgement() -> None:
    assert Tally("clean", 0, {}).read().tolist() == []


def test_a_tally_is_determined_by_its_name_and_what_it_was_told() -> None:
    assert Tally("pgd", 5, {"threat": "linf"}).identity() == {"name": "pgd", "threat": "linf"}
    assert Tally("pgd", 5, {}).identity() == {"name": "pgd"}
    assert Tally("pgd", 5, None).identity() is None


def test_judgements_are_always_worth_keeping() -> None:
    noted().check()
    noted((0, 5)).check()


@given(st.lists(st.booleans(), max_size=30), st.data())
def test_a_tally_goes_on_from_what_a_file_held(rights: list[bool], data: st.DataObject) -> None:
    count, right = len(rights), torch.tensor(rights, dtype=torch.bool)
    at = data.draw(st.integers(0, count))
    before, after = Tally("clean", count, {}), Tally("clean", count, {})
    before.note(0, verdict(right[:at]))
    before.queries.images, before.queries.gradient_images, before.queries.calls = 3 * at, 2 * at, at
    after.load_state_dict(as_read(before.state_dict()))
    assert after.judged(0, at)
    assert not (at < count and after.judged(at, at + 1))
    after.queries.images += 10
    after.note(at, verdict(right[at:]))
    assert torch.equal(after.read(), right)
    assert after.queries == Queries(3 * at + 10, 2 * at, at)
    assert before.queries == Queries(3 * at, 2 * at, at)


def test_the_final_state_says_as_much_as_any_other() -> None:
    tally = noted((0, 5))
    tally.queries.calls = 4
    other = Tally("clean", 5, {})
    other.load_state_dict(as_read(tally.final_state()))
    assert torch.equal(other.read(), RIGHT)
    assert other.queries == Queries(calls=4)


def test_reading_does_not_count_queries_twice() -> None:
    tally = noted((0, 5))
    tally.queries.images = 7
    tally.read()
    tally.read()
    assert tally.queries.images == 7


def with_album() -> Tally:
    """A tally of five images that keeps pictures of all of them."""
    return Tally("pgd", 5, {}, album=Album.empty(5, (1, 1, 1)))


def shades(*values: int) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1) / 255


def kept(tally: Tally) -> list[int]:
    assert tally.album is not None
    return tally.album.pictures.flatten().tolist()


def test_pictures_of_what_was_judged_are_kept_and_go_on() -> None:
    before, after = with_album(), with_album()
    before.note(0, verdict(RIGHT[:3], shades(10, 20, 30)))
    after.load_state_dict(as_read(before.state_dict()))
    after.note(3, verdict(RIGHT[3:], shades(40, 50)))
    after.read()
    assert kept(after) == [10, 20, 30, 40, 50]
    assert kept(before) == [10, 20, 30, 0, 0]


def test_a_state_is_not_changed_by_what_comes_after() -> None:
    tally = with_album()
    tally.note(0, verdict(RIGHT[:1], shades(10)))
    state = tally.state_dict()
    tally.note(1, verdict(RIGHT[1:2], shades(20)))
    assert cast(Tensor, state["pictures"]).flatten().tolist() == [10, 0, 0, 0, 0]


def test_without_an_album_no_picture_is_kept() -> None:
    tally = Tally("clean", 5, {})
    tally.note(0, verdict(RIGHT, shades(1, 2, 3, 4, 5)))
    assert "pictures" not in tally.state_dict()


# -- outputs ----------------------------------------------------------------------------------------------------------

#: Of five images and two classes, with what is no number among them.
OUTPUTS = torch.tensor([[1.0, 2.0], [torch.nan, 0.0], [-torch.inf, 3.0], [0.1, 0.2], [7.0, 7.0]])


def answered(compute: Compute | None = None, *spans: tuple[int, int]) -> Tally:
    """A tally that keeps outputs, and has those of these spans."""
    tally = Tally("clean", 5, {}, compute or Compute(), classes=2)
    for start, end in spans:
        tally.note(start, Verdict(RIGHT[start:end], logits=OUTPUTS[start:end].double()))
    return tally


def equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one.nan_to_num(123), other.nan_to_num(123))


def test_outputs_are_kept_in_their_places_and_go_on() -> None:
    before, after = answered(None, (3, 5)), answered()
    after.load_state_dict(as_read(before.state_dict()))
    after.note(0, Verdict(RIGHT[:3], logits=OUTPUTS[:3]))
    after.read()
    assert equal(after.logits, OUTPUTS)
    assert before.logits[:3].tolist() == [[0, 0]] * 3


def test_a_finished_tally_brings_its_outputs() -> None:
    done = answered()
    done.load_state_dict(as_read(answered(None, (0, 5)).final_state()))
    done.read()
    assert equal(done.logits, OUTPUTS)


def test_where_no_outputs_are_kept_there_are_none() -> None:
    tally = Tally("pgd", 5, {})
    tally.note(0, Verdict(RIGHT, logits=OUTPUTS))
    assert "logits" not in tally.state_dict()
    assert tally.logits.shape == (5, 0)


def test_outputs_that_an_older_state_lacks_are_no_numbers() -> None:
    state = dict(answered(None, (0, 5)).state_dict())
    del state["logits"]
    tally = answered()
    tally.load_state_dict(as_read(state))
    assert torch.equal(tally.read(), RIGHT)
    assert bool(tally.logits.isnan().all())


@pytest.mark.parametrize("index", [0, 1])
def test_processes_read_the_outputs_of_all(index: int) -> None:
    spans = (((0, 2), (3, 4)), ((2, 3), (4, 5)))
    given = []
    for place in (0, 1):
        beside = Beside(place, [])
        answered(beside, *spans[place]).state_dict()
        given.append(beside.given)
    tally = answered(Beside(index, given[1 - index]), *spans[index])
    assert torch.equal(tally.read(), RIGHT)
    assert equal(tally.logits, OUTPUTS)


@pytest.mark.parametrize("index", [0, 1])
def test_after_loading_the_main_process_alone_has_the_outputs(index: int) -> None:
    tally = answered(Beside(index, []))
    tally.load_state_dict(as_read(answered(None, (0, 5)).state_dict()))
    assert equal(tally.logits, torch.zeros(5, 2) if index else OUTPUTS)


def test_after_loading_the_main_process_alone_has_the_pictures() -> None:
    saved = with_album()
    saved.note(0, verdict(RIGHT[:2], shades(10, 20)))
    for index, expected in ((0, [10, 20, 0, 0, 0]), (1, [0] * 5)):
        tally = Tally("pgd", 5, {}, Beside(index, []), album=Album.empty(5, (1, 1, 1)))
        tally.load_state_dict(as_read(saved.state_dict()))
        assert kept(tally) == expected


class Beside(Compute):
    """A process of two: sums are taken with what the other one put in at the same place, in its order."""

    count = 2

    def __init__(self, index: int, other: list[Tensor]) -> None:
        super().__init__()
        self.index, self.given, self._other = index, list[Tensor](), iter(other)

    def total(self, tensor: Tensor) -> Tensor:
        self.given.append(tensor.clone())
        return tensor + next(self._other, torch.zeros_like(tensor))


def halves(*others: list[Tensor]) -> list[Tally]:
    """The tallies of two processes that judged the even and the odd images and asked 10 and 1 times."""
    found = []
    for index, (start, asked) in enumerate([(0, 10), (1, 1)]):
        compute = Beside(index, others[index] if others else [])
        tally = Tally("clean", 5, {}, compute)
        for place in range(start, 5, 2):
            tally.note(place, verdict(RIGHT[place : place + 1]))
        tally.queries.images = asked
        tally.faults.outside, tally.faults.broken = index + 1, 10 * (index + 1)
        found.append(tally)
    return found


def exchanged() -> list[list[Tensor]]:
    """What each of the two processes puts into the sums of its state."""
    given = []
    for tally in halves():
        tally.state_dict()
        assert isinstance(tally.compute, Beside)
        given.append(tally.compute.given)
    return given


@pytest.mark.parametrize("index", [0, 1])
def test_processes_read_the_same_judgements_and_the_queries_of_all(index: int) -> None:
    of_first, of_second = exchanged()
    tally = halves(of_second, of_first)[index]
    assert torch.equal(tally.read(), RIGHT)
    assert tally.queries == Queries(images=11)


@pytest.mark.parametrize("index", [0, 1])
def test_after_loading_the_main_process_speaks_for_all_and_none_judges_again(index: int) -> None:
    saved = noted((0, 4))
    saved.queries.images = 8
    compute = Beside(index, [])
    tally = Tally("clean", 5, {}, compute)
    tally.load_state_dict(as_read(saved.state_dict()))
    assert tally.judged(0, 4)
    assert not tally.judged(4, 5)
    judgements, queries = tally.state_dict(), tally.queries
    expected = [1, 0, 1, 1, -1] if index == 0 else [-1] * 5
    assert cast(Tensor, judgements["right"]).tolist() == expected
    assert queries == Queries(images=8 if index == 0 else 0)


def test_answers_distances_and_faults_go_on_from_what_a_file_held() -> None:
    before, after = Tally("pgd", 5, {}), Tally("pgd", 5, {})
    before.note(0, verdict(RIGHT[:3]))
    before.faults.outside, before.faults.broken = 4, 2
    after.load_state_dict(as_read(before.state_dict()))
    after.note(3, verdict(RIGHT[3:]))
    after.faults.broken += 1
    after.read()
    assert (after.answers.tolist(), after.answers.dtype) == ([-1, 0, 1, -1, 0], torch.int16)
    assert (after.linf.tolist(), after.l2.tolist()) == ([0.25, 0.5, 0.75, 0.25, 0.5], [0.5, 1.0, 1.5, 0.5, 1.0])
    assert after.faults == Faults(outside=4, broken=3)
    assert before.answers.tolist() == [-1, 0, 1, 0, 0]
    assert before.faults == Faults(outside=4, broken=2)


def test_a_verdict_without_answers_leaves_none() -> None:
    tally = Tally("certified", 5, {})
    tally.note(0, Verdict(RIGHT))
    assert torch.equal(tally.read(), RIGHT)
    assert not tally.answers.any()


@pytest.mark.parametrize("index", [0, 1])
def test_processes_read_the_same_answers_distances_and_faults(index: int) -> None:
    of_first, of_second = exchanged()
    tally = halves(of_second, of_first)[index]
    tally.read()
    # Each process noted its images one by one.
    assert tally.answers.tolist() == [-1] * 5
    assert (tally.linf.tolist(), tally.l2.tolist()) == ([0.25] * 5, [0.5] * 5)
    assert tally.faults == Faults(outside=3, broken=30)


@pytest.mark.parametrize(("index", "faults"), [(0, Faults(1, 2)), (1, Faults())])
def test_after_loading_only_the_main_process_speaks_of_what_was_noted(index: int, faults: Faults) -> None:
    saved = noted((0, 5))
    saved.faults.outside, saved.faults.broken = 1, 2
    tally = Tally("clean", 5, {}, Beside(index, []))
    tally.load_state_dict(as_read(saved.state_dict()))
    assert tally.faults == faults
    assert bool(tally.linf.any()) is (index == 0)
    assert bool(tally.answers.any()) is (index == 0)

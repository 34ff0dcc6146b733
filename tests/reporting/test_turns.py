from __future__ import annotations

from hypothesis import given, strategies as st

from rcframe.reporting.turns import in_turn, in_words


def first(name: str) -> str:
    return name[0]


def test_each_teacher_has_its_turn_and_the_order_stays() -> None:
    items = ["a1", "a2", "a3", "b1", "b2", "c1"]
    assert in_turn(items, 3, first) == ["a1", "b1", "c1"]
    assert in_turn(items, 4, first) == ["a1", "a2", "b1", "c1"]
    assert in_turn(items, 5, first) == ["a1", "a2", "b1", "b2", "c1"]
    assert in_turn(items, 9, first) == items


def test_words_say_which_were_chosen() -> None:
    items = ["a1", "a2", "b1"]
    assert in_words(items[:2], items, " networks") == "the first 2 of 3 networks"
    turns = "2 of 3, the first of each teacher, then the second of each and so on,"
    assert in_words([items[0], items[2]], items, "") == turns


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(0, 12))
def test_no_teacher_has_two_more_than_another_that_has_some_left(teachers: list[str], most: int) -> None:
    items = [f"{teacher}{place}" for place, teacher in enumerate(teachers)]
    chosen = in_turn(items, most, first)
    assert chosen == [item for item in items if item in chosen]
    assert len(chosen) == min(most, len(items))
    counts = {teacher: [first(item) for item in chosen].count(teacher) for teacher in "abc"}
    short = [teacher for teacher in "abc" if counts[teacher] < teachers.count(teacher)]
    assert all(counts[other] <= counts[teacher] + 1 for teacher in short for other in "abc")

from __future__ import annotations

import numpy as np
from hypothesis import given, strategies as st

from rcframe.reporting.confusion import MOST_CLASSES, SHOWN_CLASSES, Confusion, chosen, heat_of, table_of

THREE = ("cat", "dog", "cow")


def confusion(truth: list[int], answers: list[int], classes: tuple[str, ...] = THREE) -> Confusion:
    return Confusion.of(np.array(truth, np.int64), np.array(answers, np.int16), classes)


def many(count: int) -> Confusion:
    """Class 0 is taken for class 1 twice, class 1 for 2 once, and all others are right."""
    truth = [*range(count), 0, 0, 1]
    return confusion(truth, [*range(count), 1, 1, 2], tuple(f"class {number}" for number in range(count)))


def test_rows_are_classes_and_columns_answers() -> None:
    found = confusion([0, 0, 0, 1, 2], [0, 1, 1, 1, -1])
    assert found.counts.tolist() == [[1, 2, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]
    # Two cats are taken for dogs; a cow for nothing.
    assert found.mistakes.tolist() == [2, 2, 1]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(-1, 2)), min_size=1, max_size=50))
def test_every_image_is_counted_once(pairs: list[tuple[int, int]]) -> None:
    found = confusion([truth for truth, _ in pairs], [answer for _, answer in pairs])
    for label in range(3):
        for answer in (-1, 0, 1, 2):
            assert found.counts[label, answer] == pairs.count((label, answer))
    heat = heat_of(found, chosen([found]))
    assert sum(cell.count or 0 for row in heat.rows for cell in row.cells) == len(pairs)


def test_a_heat_table_says_counts_and_their_share_of_the_class() -> None:
    heat = heat_of(confusion([0, 0, 0, 0, 1], [0, 1, 1, 1, 1]), [0, 1, 2])
    assert heat.columns == THREE
    cells = [[(cell.count, cell.share, cell.good) for cell in row.cells] for row in heat.rows]
    assert cells[0] == [(1, 0.25, True), (3, 0.75, False), (0, 0, False)]
    # No image of the last class was measured.
    assert cells[2] == [(0, 0, False), (0, 0, False), (0, 0, True)]


def test_answers_that_are_no_numbers_have_a_column_where_there_are_any() -> None:
    heat = heat_of(confusion([0, 1, 1], [0, -1, 1]), [0, 1, 2])
    assert heat.columns == (*THREE, "no number")
    assert [row.cells[-1].count for row in heat.rows] == [0, 1, 0]
    assert not heat.rows[1].cells[-1].good


def test_all_classes_are_shown_up_to_a_number_and_then_those_confused_most() -> None:
    assert chosen([many(MOST_CLASSES)]) == list(range(MOST_CLASSES))
    few = chosen([many(MOST_CLASSES + 1)])
    assert len(few) == SHOWN_CLASSES
    assert few[:3] == [0, 1, 2]
    late = confusion([30, 30, 31], [30, 40, 32], tuple(map(str, range(50))))
    assert {30, 31, 32, 40} < set(chosen([late, many(50)]))


def test_what_is_not_shown_is_counted_together_so_that_rows_stay_whole() -> None:
    found = confusion([0, 0, 0, 0, 1], [0, 1, 2, 2, 1])
    heat = heat_of(found, [0, 1])
    assert heat.columns == ("cat", "dog", "others")
    assert [(cell.count, cell.share) for cell in heat.rows[0].cells] == [(1, 0.25), (1, 0.25), (2, 0.5)]


def test_answers_that_are_no_numbers_are_none_of_the_others() -> None:
    heat = heat_of(confusion([0, 0, 0], [2, -1, -1]), [0, 1])
    assert heat.columns == ("cat", "dog", "others", "no number")
    assert [cell.count for cell in heat.rows[0].cells] == [0, 0, 1, 2]


def test_shades_grow_with_the_share_and_leave_texts_legible() -> None:
    heat = heat_of(confusion([0] * 100, [0] * 90 + [1] * 10), [0, 1, 2])
    assert [cell.shade for cell in heat.rows[0].cells] == [43, 14, 0]
    assert not heat.narrow
    assert heat_of(many(5), [0, 1]).narrow


def test_the_data_lists_every_pair_that_occurs() -> None:
    table = table_of(confusion([0, 0, 0, 2], [0, 1, 1, -1]), "title")
    assert table.rows == (("cat", "cat", "1", "33.3"), ("cat", "dog", "2", "66.7"), ("cow", "no number", "1", "100.0"))
    assert table.notes == ()


def test_of_very_many_pairs_the_data_lists_the_most_frequent() -> None:
    truth = np.repeat(np.arange(30), 30)
    answers = np.tile(np.arange(30), 30)
    twice = Confusion.of(np.append(truth, 29), np.append(answers, 29).astype(np.int16), tuple(map(str, range(30))))
    table = table_of(twice, "title")
    assert len(table.rows) == 400
    assert ("29", "29", "2", "6.5") in table.rows
    assert table.notes == ("The 400 most frequent of 900 pairs.",)

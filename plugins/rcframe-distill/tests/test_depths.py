from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from rcframe_distill.depths import Layer, Pair, middle, obstacle, spread, student_layers, teacher_layers
from torch import nn

from rcframe import Access, ModelOracle, RequestError
from rcframe.testing.toys import toy_run


@pytest.mark.parametrize(
    ("taps", "count", "expected"), [("abcd", 2, "bd"), ("abcd", 3, "abd"), ("abcd", 4, "abcd"), ("abc", 1, "c")]
)
def test_a_few_are_spread_evenly(taps: str, count: int, expected: str) -> None:
    assert "".join(spread(list(taps), count)) == expected


@given(st.integers(1, 30), st.data())
def test_the_spread_keeps_the_order_and_the_last(number: int, data: st.DataObject) -> None:
    items, count = list(range(number)), data.draw(st.integers(1, number))
    chosen = spread(items, count)
    assert len(set(chosen)) == count
    assert list(chosen) == sorted(chosen)
    assert chosen[-1] == items[-1]


@pytest.mark.parametrize(("taps", "expected"), [("a", "a"), ("ab", "a"), ("abc", "b"), ("abcd", "b")])
def test_the_middle_is_the_shallower_of_two(taps: str, expected: str) -> None:
    assert middle(list(taps)) == expected


def test_layers_come_with_their_shapes_from_both_sides(teacher: nn.Module) -> None:
    run = toy_run("student")
    oracle = ModelOracle(teacher, Access.GREY)
    expected = (Layer("net.relu1", (4, 4, 4)), Layer("net.fc1", (16,)))
    assert student_layers(teacher, ["net.relu1", "net.fc1"], run) == expected
    assert teacher_layers(oracle, ["net.relu1", "net.fc1"], run) == expected
    assert [layer.has_maps for layer in expected] == [True, False]
    assert oracle.queries.images == 2


def test_a_layer_that_is_missing_is_named_with_those_that_exist(teacher: nn.Module) -> None:
    assert obstacle(teacher, "teacher", "taps", ["net.relu1", "net.fc1"]) is None
    words = r"^In the option `taps`: the teacher has no layer `net\.relu9`\. .* Its taps: net\.relu1, .*, net\.relu3\.$"
    with pytest.raises(RequestError, match=words):
        obstacle(teacher, "teacher", "taps", ["net.relu1", "net.relu9"])


def test_a_network_without_taps_needs_layers_to_be_named(teacher: nn.Module) -> None:
    assert obstacle(teacher, "teacher", "hint", []) is None
    bare = nn.Sequential(nn.Flatten())
    assert obstacle(bare, "student", "taps", ["0"]) is None
    reason = obstacle(bare, "student", "taps", [])
    assert reason == "the student names no taps: choose with the option `taps` from its layers 0"


def test_a_pair_says_which_sizes_it_has() -> None:
    pair = Pair(Layer("relu1", (4, 8, 8)), Layer("block2", (16, 4, 4)))
    assert not pair.of_one_size
    assert str(pair) == "`block2` (16x4x4) for `relu1` (4x8x8)"
    assert Pair(Layer("relu1", (4, 8, 8)), Layer("block2", (16, 8, 8))).of_one_size

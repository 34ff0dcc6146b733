from __future__ import annotations

import hashlib

from hypothesis import given, strategies as st

from rcframe.storage.identity import Difference, Identity

PARTS = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=4)


def test_the_key_is_the_sha256_of_the_sorted_parts() -> None:
    expected = hashlib.sha256(b'{"name": "train", "seed": "0"}').hexdigest()
    assert Identity({"seed": "0", "name": "train"}).key == expected


@given(PARTS, PARTS)
def test_equal_parts_and_only_they_have_equal_keys(one: dict[str, str], other: dict[str, str]) -> None:
    assert (Identity(one).key == Identity(other).key) == (one == other)
    assert Identity(one).key == Identity(dict(reversed(one.items()))).key


def test_the_name_is_one_of_the_parts() -> None:
    assert Identity({"name": "train"}).name == "train"
    assert Identity({}).name == ""


def test_differences_are_listed_in_our_order_then_theirs_and_absent_parts_are_empty() -> None:
    ours = Identity({"name": "train", "seed": "0", "lr": "0.1", "here": "x"})
    assert ours.differences({"there": "y", "lr": "0.2", "seed": "0", "name": "train"}) == (
        Difference("lr", here="0.1", there="0.2"),
        Difference("here", here="x", there=""),
        Difference("there", here="", there="y"),
    )


@given(PARTS)
def test_nothing_differs_from_itself(parts: dict[str, str]) -> None:
    assert Identity(parts).differences(dict(parts)) == ()

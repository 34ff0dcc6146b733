from __future__ import annotations

import itertools
from functools import reduce
from operator import or_

import pytest
from hypothesis import given, strategies as st

from rcframe.access import PRESETS, Access, describe_access, parse_access
from rcframe.errors import RequestError

CAPABILITIES = ("label", "probs", "logits", "features", "input_grad", "bn_stats", "params")


@pytest.mark.parametrize(
    ("preset", "granted"),
    [
        ("none", set()),
        ("hard", {"label"}),
        ("soft", {"label", "probs"}),
        ("logit", {"label", "probs", "logits"}),
        ("grey", {"label", "probs", "logits", "features"}),
        ("white", set(CAPABILITIES)),
    ],
)
def test_presets_grant_exactly_what_their_names_promise(preset: str, granted: set[str]) -> None:
    assert {flag.name.lower() for flag in parse_access(preset) if flag.name} == granted


def test_presets_grow_in_the_order_in_which_they_are_listed() -> None:
    for weaker, stronger in itertools.pairwise(PRESETS.values()):
        assert weaker in stronger
        assert weaker != stronger


@given(st.lists(st.sampled_from([*PRESETS, *CAPABILITIES]), min_size=1), st.booleans())
def test_a_sum_grants_what_any_of_its_parts_grants(parts: list[str], shouted: bool) -> None:
    text = "+".join(parts)
    wanted = reduce(or_, (Access[part.upper()] for part in parts))
    assert parse_access(text.upper() if shouted else text) == wanted


def test_an_unknown_level_is_a_sentence_with_the_nearest_and_all_others() -> None:
    with pytest.raises(RequestError) as raised:
        parse_access("logit+input_grat")
    text = str(raised.value)
    assert "`input_grat`. Did you mean `input_grad`?" in text
    assert "Presets: none, hard, soft, logit, grey, white;" in text
    assert "label, probs, logits, features, input_grad, bn_stats, params" in text


@pytest.mark.parametrize("text", ["", "logit+", "logit input_grad", "7"])
def test_what_is_no_level_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="No access level"):
        parse_access(text)


def test_capabilities_are_named_in_words() -> None:
    assert describe_access(Access.NONE) == "nothing"
    assert describe_access(Access.LOGIT) == "labels, probabilities, logits"
    assert describe_access(Access.INPUT_GRAD | Access.PARAMS) == "input gradients, parameters"
    assert describe_access(Access.FEATURES | Access.BN_STATS) == "features, batch-norm statistics"

from __future__ import annotations

import pytest

from rcframe.api import Attack
from rcframe.evaluation.trust.sorts import Sort, sort_of
from tests.evaluation.trust.suspects import Ascent, Blind, Chance, Foreign, OneStep


@pytest.mark.parametrize(
    ("attack", "sort"),
    [
        (Ascent(), Sort.ITERATED),
        (OneStep(), Sort.SINGLE_STEP),
        (Chance(), Sort.NOISE),
        (Blind(), Sort.GRADIENT_FREE),
        (Foreign(), Sort.TRANSFER),
    ],
    ids=str,
)
def test_traits_tell_the_sort(attack: Attack, sort: Sort) -> None:
    assert sort_of(attack) is sort

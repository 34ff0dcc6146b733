from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest

from rcframe.evaluation.trust.flag import Flag, Kind, kind_of

PAGE = (Path(__file__).parents[3] / "docs" / "trust.md").read_text(encoding="utf-8")


def test_a_flag_is_its_sentence_wherever_sentences_go() -> None:
    flag = Flag(Kind.NOISE, "noise broke 3 images")
    assert flag == "noise broke 3 images"
    assert json.dumps([flag]) == '["noise broke 3 images"]'
    assert flag.kind is Kind.NOISE


def test_a_copy_knows_its_kind() -> None:
    flag = Flag(Kind.NOISE, "noise broke 3 images")
    for again in (copy.deepcopy(flag), pickle.loads(pickle.dumps(flag))):
        assert again == flag
        assert again.kind is Kind.NOISE


def test_a_sentence_of_an_older_report_has_no_kind() -> None:
    assert kind_of(Flag(Kind.NOISE, "noise broke 3 images")) == "noise as strong"
    assert kind_of("noise broke 3 images") == ""


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_one_row_on_the_page(kind: Kind) -> None:
    assert PAGE.count(f"\n| {kind.value} |") == 1

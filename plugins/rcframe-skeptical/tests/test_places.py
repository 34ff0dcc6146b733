from __future__ import annotations

import pytest
from rcframe_skeptical.places import PlaceOptions, Places, layer_at
from torch import nn

from rcframe import RequestError


class Named(nn.Module):
    """A network of seven layers; the natural depths are `a`, `c`, `e` and `g`, or what is given."""

    def __init__(self, *taps: str) -> None:
        super().__init__()
        for name in "abcdefg":
            self.add_module(name, nn.Identity())
        self.taps = taps


NETWORK = Named("a", "c", "e", "g")


@pytest.mark.parametrize(
    ("options", "places"),
    [
        (PlaceOptions(), Places("c", ("e",))),
        (PlaceOptions(deeper=()), Places("c", ())),
        (PlaceOptions(deeper=("others",)), Places("c", ("a", "e"))),
        (PlaceOptions(tap="1"), Places("a", ("c", "e"))),
        (PlaceOptions(tap="3", deeper=("others",)), Places("e", ("a", "c"))),
        (PlaceOptions(tap="4"), Places("g", ())),
        (PlaceOptions(tap="b", deeper=("2", "f", "e", "f")), Places("b", ("c", "f", "e"))),
        (PlaceOptions(tap="d"), Places("d", ())),
        (PlaceOptions(tap="output"), Places(None, ())),
        (PlaceOptions(tap="output", deeper=("others",)), Places(None, ("a", "c", "e"))),
    ],
)
def test_layers_are_meant_by_name_depth_or_word(options: PlaceOptions, places: Places) -> None:
    assert options.places(NETWORK) == places
    assert options.lacking(NETWORK) is None


def test_a_network_of_two_taps_has_its_teacher_at_the_first() -> None:
    assert PlaceOptions().places(Named("a", "b")) == Places("a", ())


def test_the_teachers_layer_comes_first_and_the_final_classifier_is_none() -> None:
    assert Places("c", ("a", "e")).layers == ("c", "a", "e")
    assert Places(None, ("a",)).layers == ("a",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (PlaceOptions(tap="x"), r"^In the option `tap`: the network has no layer `x`\..*Its taps: a, c, e, g"),
        (
            PlaceOptions(deeper=("a", "output")),
            r"^In the option `deeper`: the network has no layer `output`\..*Its taps: a, c, e, g",
        ),
        (PlaceOptions(tap=""), r"^In the option `tap`: the network has no layer ``\."),
        (
            PlaceOptions(tap="0"),
            r"^In the option `tap`: the network has no depth 0\. Its taps by depth: 1 `a`, 2 `c`, 3 `e`, 4 `g`\.",
        ),
        (PlaceOptions(tap="5"), r"no depth 5\."),
        (PlaceOptions(deeper=("9",)), r"^In the option `deeper`: the network has no depth 9\."),
    ],
)
def test_a_layer_or_depth_that_is_not_there_is_refused_with_those_that_are(options: PlaceOptions, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        options.lacking(NETWORK)


def test_a_network_that_names_too_few_taps_needs_a_layer_to_be_named() -> None:
    assert "of the two taps that are needed it has 1" in (PlaceOptions().lacking(Named("a")) or "")
    assert PlaceOptions(tap="b").lacking(Named()) is None
    assert PlaceOptions(tap="output").lacking(Named()) is None


def test_a_layer_called_by_a_number_comes_before_a_depth() -> None:
    chain = nn.Sequential(nn.Identity(), nn.Identity())
    assert layer_at(chain, "1", "tap") == "1"
    chain.taps = ("0", "1")  # type: ignore[assignment]
    assert layer_at(chain, "1", "tap") == "1"
    assert layer_at(chain, "2", "tap") == "1"

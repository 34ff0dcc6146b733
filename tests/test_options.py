from __future__ import annotations

import copy
import math
import pickle
import tomllib
from collections.abc import Mapping
from typing import ClassVar, Literal

import attrs
import pytest
import tomlkit
from hypothesis import example, given, strategies as st

from rcframe.choice import Choice, format_choice, parse_choice
from rcframe.errors import RequestError
from rcframe.options import (
    Number,
    Value,
    at_least,
    between,
    build,
    changed,
    changed_options,
    component,
    more_than,
    option,
    options_of,
    parse,
    presets_of,
    settable,
    share,
    to_text,
    values_of,
)
from rcframe.session.config import to_toml


@component
class Everything:
    path: str = option(default="", help="Some text.", positional=True)
    flag: bool = option(default=False, help="A switch.")
    count: int = option(default=3, help="A number.", check=at_least(1))
    rate: float = option(default=0.5, help="Another number.", check=between(0, 1))
    scale: float | None = option(default=None, help="A number or none.", check=more_than(0))
    mode: Literal["slow", "very-fast"] = option(default="slow", help="A word.")
    level: Literal[1, 2, 4] = option(default=1, help="One of three numbers.")
    channels: tuple[int, ...] = option(default=(4, 4), help="Numbers.", check=at_least(1))
    weights: tuple[float, ...] = option(default=(), help="More numbers.")
    changes: tuple[Literal["flip", "crop"], ...] = option(default=(), help="Words.")
    layers: tuple[str, ...] = option(default=("auto",), help="Texts.")


@component
class Child(Everything):
    count: int = option(default=9, help="Stricter.", check=at_least(5))
    extra: int | None = option(default=None, help="Its own.")


def make(**given_values: object) -> Everything:
    return build(Everything, given_values, "thing")


FINITE = st.floats(allow_nan=False, allow_infinity=False)


def _balanced(text: str) -> bool:
    depths = [0]
    for character in text:
        depths.append(depths[-1] + (character == "(") - (character == ")"))
    return depths[-1] == 0 and min(depths) == 0


EVERYTHING = st.builds(
    Everything,
    path=st.text() | st.text(alphabet="(),=+ a", max_size=8),
    flag=st.booleans(),
    count=st.integers(min_value=1),
    rate=st.floats(0, 1),
    scale=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    mode=st.sampled_from(["slow", "very-fast"]),
    level=st.sampled_from([1, 2, 4]),
    channels=st.lists(st.integers(min_value=1)).map(tuple),
    weights=st.lists(FINITE).map(tuple),
    changes=st.lists(st.sampled_from(["flip", "crop"])).map(tuple),
    layers=st.lists(st.text(alphabet="ab.c, =7", min_size=1)).map(tuple),
)


@given(EVERYTHING.filter(lambda built: _balanced(built.path)))
@example(Everything(path="runs/a=b,c", weights=(1e300, -2.5e-7, 1e16)))
@example(Everything(path="(old) models (new)"))
@example(Everything(path=" padded "))
def test_a_component_built_from_its_own_spec_string_equals_itself(original: Everything) -> None:
    text = format_choice(Choice("thing", values_of(original)))
    assert build(Everything, parse_choice(text, "thing").options, "thing") == original


@given(EVERYTHING)
def test_a_component_built_from_its_own_toml_equals_itself(original: Everything) -> None:
    document = tomlkit.dumps({name: to_toml(value) for name, value in values_of(original).items()})
    assert build(Everything, tomllib.loads(document), "thing") == original


@given(EVERYTHING)
def test_values_may_be_given_as_python_objects(original: Everything) -> None:
    assert build(Everything, values_of(original), "thing") == original


@given(FINITE)
def test_a_number_is_the_float_it_was_made_of(value: float) -> None:
    number = Number(value)
    assert (number, hash(number)) == (value, hash(value))
    assert float(number.text) == value


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_fraction_is_its_quotient_and_stays_as_typed_wherever_it_goes(above: int, below: int) -> None:
    typed = f"{above}/{below}"
    for text in (typed, f" {typed} "):
        number = Number(text)
        assert number == above / below
        for same in (number, copy.deepcopy(number), pickle.loads(pickle.dumps(number)), Number(number)):
            assert (same, same.text, str(same), repr(same)) == (number, typed, typed, typed)


def test_a_typed_fraction_survives_spec_string_and_toml() -> None:
    built = make(rate="8/255", scale="1/3", weights="1/4+2/8")
    assert built.rate == 8 / 255
    text = format_choice(Choice("thing", changed_options(built)))
    assert text == "thing:rate=8/255,scale=1/3,weights=1/4+2/8"
    again = build(Everything, parse_choice(text, "thing").options, "thing")
    document = tomlkit.dumps({name: to_toml(value) for name, value in values_of(again).items()})
    assert 'rate = "8/255"\nscale = "1/3"\n' in document
    assert to_text(make(**tomllib.loads(document)).rate) == "8/255"


@pytest.mark.parametrize("text", ["", "x", "1/", "/2", "1/2/3", "nan", "inf", "-inf", "1e999", "8//255"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Number(text)
    with pytest.raises(RequestError, match=r"Option `rate` of `thing` is .* number between 0 and 1\."):
        make(rate=text)


@pytest.mark.parametrize(
    ("name", "given_value", "wanted"),
    [
        ("flag", "true", True),
        ("flag", "Yes", True),
        ("flag", "on", True),
        ("flag", "1", True),
        ("flag", 1, True),
        ("flag", "off", False),
        ("flag", "No", False),
        ("flag", "FALSE", False),
        ("flag", 0, False),
        ("count", "7", 7),
        ("count", 7.0, 7),
        ("rate", "0.25", 0.25),
        ("rate", 1, 1.0),
        ("rate", "8/255", Number("8/255")),
        ("scale", "none", None),
        ("scale", None, None),
        ("scale", "2", 2.0),
        ("mode", "very-fast", "very-fast"),
        ("level", "4", 4),
        ("level", 2, 2),
        ("channels", "16+32", (16, 32)),
        ("channels", "16", (16,)),
        ("channels", 16, (16,)),
        ("channels", [16, "32"], (16, 32)),
        ("channels", "", ()),
        ("weights", "1e-3+0.25", (0.001, 0.25)),
        ("changes", "crop+flip", ("crop", "flip")),
        ("layers", "net.0+net.1", ("net.0", "net.1")),
        ("path", "none", "none"),
    ],
)
def test_every_type_reads_text_toml_and_python(name: str, given_value: object, wanted: Value) -> None:
    value = getattr(make(**{name: given_value}), name)
    assert (value, type(value)) == (wanted, type(wanted))


@pytest.mark.parametrize(
    ("name", "given_value", "words"),
    [
        ("flag", "maybe", "true or false"),
        ("flag", 2, "true or false"),
        ("flag", None, "true or false"),
        ("count", "3.5", "whole number at least 1"),
        ("count", 3.5, "whole number at least 1"),
        ("count", True, "whole number at least 1"),
        ("count", "1e3", "whole number at least 1"),
        ("count", None, "whole number at least 1"),
        ("count", [3], "whole number at least 1"),
        ("count", math.inf, "whole number at least 1"),
        ("rate", "fast", "number between 0 and 1"),
        ("rate", True, "number between 0 and 1"),
        ("rate", "1/0", "number between 0 and 1"),
        ("rate", math.nan, "number between 0 and 1"),
        ("rate", None, "number between 0 and 1"),
        ("scale", "1/0", "number or none more than 0"),
        ("scale", "None", "number or none more than 0"),
        ("mode", "fast", "one of slow, very-fast"),
        ("level", "3", "one of 1, 2, 4"),
        ("channels", "16+x", r"list of whole number \(a\+b\+c\) at least 1"),
        ("channels", "16,32", r"list of whole number \(a\+b\+c\) at least 1"),
        ("channels", {"a": 1}, r"list of whole number \(a\+b\+c\) at least 1"),
        ("changes", "flip+spin", r"list of one of flip, crop \(a\+b\+c\)"),
        ("path", 5, "text"),
        ("path", None, "text"),
        ("layers", [5], r"list of text \(a\+b\+c\)"),
    ],
)
def test_a_wrong_type_says_what_was_given_and_what_is_allowed(name: str, given_value: object, words: str) -> None:
    with pytest.raises(RequestError, match=rf"^Option `{name}` of `thing` is .*, but it must be: {words}\.") as raised:
        make(**{name: given_value})
    assert repr(given_value) in str(raised.value)


def test_a_misspelt_choice_is_answered_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"one of slow, very-fast\. Did you mean `very-fast`\?$"):
        make(mode="veryfast")


@pytest.mark.parametrize(
    ("name", "allowed", "refused", "words"),
    [
        ("count", ["1", 2], ["0", -1], "at least 1"),
        ("rate", ["0", "1", 0.5], [-1e-9, "1.0001", "256/255"], "between 0 and 1"),
        ("scale", ["none", 1e-9], ["0", -1.0], "more than 0"),
        ("channels", ["1+2", ""], ["1+0+2", [-3]], "at least 1"),
    ],
)
def test_a_range_is_kept(name: str, allowed: list[object], refused: list[object], words: str) -> None:
    for value in allowed:
        make(**{name: value})
    for value in refused:
        with pytest.raises(RequestError, match=rf"^Option `{name}` of `thing` is .*, but it must be {words}\.$"):
            make(**{name: value})


def test_ranges_hold_for_the_constructor_too() -> None:
    with pytest.raises(RequestError, match=r"^Option `rate` of `Everything` is 1\.5, but it must be between 0 and 1"):
        Everything(rate=1.5)


def test_an_unknown_option_is_answered_with_the_nearest_and_all_others() -> None:
    with pytest.raises(RequestError) as raised:
        make(cuont=3)
    assert str(raised.value) == (
        "`thing` has no option `cuont`. Did you mean `count`? Its options: path, flag, count, rate, scale, mode, "
        "level, channels, weights, changes, layers."
    )


def test_a_positional_value_goes_to_the_positional_option() -> None:
    assert build(Everything, {"": "runs/1"}, "thing").path == "runs/1"


def test_a_positional_value_needs_a_positional_option() -> None:
    @component
    class Named:
        count: int = option(default=1, help="A number.")

    with pytest.raises(RequestError, match=r"`bare` takes its options by name, .* Its options: count\."):
        build(Named, {"": "3"}, "bare")


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(RequestError, match="`thing` was given option `path` twice"):
        build(Everything, {"": "a", "path": "b"}, "thing")


def test_options_are_described_in_the_order_of_declaration() -> None:
    described = {known.name: known for known in options_of(Everything)}
    assert list(described)[:3] == ["path", "flag", "count"]
    assert len(described) == 11
    assert (described["count"].default, described["count"].help) == (3, "A number.")
    assert described["scale"].allowed == "number or none more than 0"
    assert [name for name, known in described.items() if known.positional] == ["path"]


def test_a_subclass_inherits_options_and_may_tighten_them() -> None:
    described = {known.name: known for known in options_of(Child)}
    assert described["count"].allowed == "whole number at least 5"
    assert described["extra"].allowed == "whole number or none"
    assert (Child().count, Child().rate) == (9, 0.5)
    with pytest.raises(RequestError, match=r"`count` of `child` is 4, but it must be at least 5"):
        build(Child, {"count": 4}, "child")


@component
class Outward:
    place: str = option(default="", help="Any text.")
    places: tuple[str, ...] = option(default=(), help="Any texts.")
    maybe: str | None = option(default=None, help="Any text or none.")
    known: str = option(default="a", help="A name in a table.", lookup=True)
    kind: Literal["a", "b"] = option(default="a", help="One of two.")
    sizes: tuple[int, ...] = option(default=(1,), help="Numbers.")
    rate: float | None = option(default=None, help="A number or none.")
    flag: bool = option(default=False, help="A switch.")


def test_any_text_counts_as_harmful_unless_it_is_looked_up() -> None:
    harmless = {chosen.name: chosen.harmless for chosen in options_of(Outward)}
    assert [name for name, fine in harmless.items() if not fine] == ["place", "places", "maybe"]


def test_only_changed_options_are_told_apart_from_defaults() -> None:
    assert changed_options(Everything()) == {}
    assert changed_options(make(count=4, rate="0.5")) == {"count": 4}
    assert values_of(make(count=4))["count"] == 4


def test_components_are_frozen_and_keyword_only() -> None:
    built = Everything()
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        built.count = 4  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        Everything("runs/1")  # type: ignore[call-arg]  # that is the point
    assert built == Everything()
    assert built != Everything(count=4)


def test_a_field_that_is_no_option_is_refused_with_the_remedy() -> None:
    @component
    class Odd:
        count: int = 3

    with pytest.raises(RequestError, match=r"Field `count` of `Odd` is not an option: .*option\(default="):
        options_of(Odd)


def test_no_option_may_be_called_name_which_tables_need_for_the_component() -> None:
    @component
    class Named:
        name: str = option(default="", help="A name.")

    with pytest.raises(RequestError, match="option of `Named` is called `name`"):
        options_of(Named)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "none"),
        (3, "3"),
        (0.1, "0.1"),
        (1e22, "1e22"),
        (1e-5, "1e-05"),
        (Number("8/255"), "8/255"),
        ((1, 2.5, "a"), "1+2.5+a"),
        ((), ""),
        ("plain", "plain"),
    ],
)
def test_values_are_written_as_spec_strings_spell_them(value: Value, text: str) -> None:
    assert to_text(value) == text


def test_a_type_that_options_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(bytes, "x")


@pytest.mark.parametrize("text", ["1_0/255", "\u0668/255", "1__0", "0x10", "nan", "inf", "1/0", "", "8//255"])
def test_what_is_no_plain_number_is_refused(text: str) -> None:
    with pytest.raises((ValueError, ZeroDivisionError)):
        Number(text)


def test_a_changed_component_keeps_its_other_options_and_is_checked_like_any() -> None:
    before = make(count=4, rate="0.5")
    after = changed(before, count=5)
    assert type(after) is type(before)
    assert (after.count, after.rate, before.count) == (5, before.rate, 4)
    with pytest.raises(RequestError):
        changed(before, count=-1)


# -- presets


@component
class Prepared:
    """A component with a paper's settings."""

    rate: float = option(default=0.5, help="A number.")
    milestones: tuple[int, ...] = option(default=(), help="Several numbers.")
    path: str = option(default="", help="Some text.", positional=True)

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "small": {"rate": 0.1, "milestones": (3, 4)},
        "large": {"rate": "2e-1"},
        "wrong": {"speed": 3},
    }


def prepared(spec: str) -> Prepared:
    return build(Prepared, parse_choice(spec, "student").options, "prepared")


def test_a_preset_stands_for_its_options_and_those_given_beside_it_win() -> None:
    assert prepared("prepared:preset=small") == Prepared(rate=0.1, milestones=(3, 4))
    assert prepared("prepared:preset=large") == Prepared(rate=0.2)
    for spec in ("prepared:preset=small,rate=0.7", "prepared:rate=0.7,preset=small"):
        assert prepared(spec) == Prepared(rate=0.7, milestones=(3, 4))
    assert prepared("prepared:here,preset=small").path == "here"
    assert build(Prepared, {"preset": "small", "milestones": [9]}, "prepared").milestones == (9,)


def test_a_component_remembers_its_values_and_not_the_preset() -> None:
    built = prepared("prepared:preset=small,rate=0.7")
    assert values_of(built) == {"rate": 0.7, "milestones": (3, 4), "path": ""}
    assert built == prepared("prepared:rate=0.7,milestones=3+4")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("prepared:preset=smal", "`prepared` has no preset `smal`. Did you mean `small`? Its presets: small, large"),
        ("prepared:preset=(3)", "`prepared` has no preset `3`. Its presets: small, large"),
        ("prepared:preset=wrong", "`prepared` has no option `speed`."),
    ],
)
def test_a_preset_that_is_not_there_is_refused_with_those_that_are(spec: str, words: str) -> None:
    with pytest.raises(RequestError) as refused:
        prepared(spec)
    assert str(refused.value).startswith(words)


def test_a_component_without_presets_says_so() -> None:
    with pytest.raises(RequestError, match=r"^`everything` has no preset `small`\. It has none\.$"):
        build(Everything, {"preset": "small"}, "everything")
    assert (dict(presets_of(Everything)), list(presets_of(Prepared))) == ({}, ["small", "large", "wrong"])
    assert settable(Prepared) == ["rate", "milestones", "path", "preset"]
    assert "preset" not in settable(Everything)


def test_no_option_may_be_called_preset() -> None:
    @component
    class Greedy:
        preset: int = option(default=1, help="A number.")

    with pytest.raises(RequestError, match=r"An option of `Greedy` is called `preset`, which is taken"):
        options_of(Greedy)


@given(st.floats(min_value=-2, max_value=2))
def test_a_share_is_more_than_nothing_and_at_most_all_and_a_refusal_says_of_what(value: float) -> None:
    @component
    class Sliced:
        part: float = option(default=1.0, help="A part.", check=share("the cake"))

    if 0 < value <= 1:
        assert build(Sliced, {"part": value}, "sliced").part == value
        return
    with pytest.raises(RequestError) as refused:
        build(Sliced, {"part": value}, "sliced")
    assert str(refused.value).endswith("must be more than 0 and at most 1: a share of the cake, of which 1 is all.")
    assert [option.allowed for option in options_of(Sliced)] == ["number more than 0 and at most 1"]

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from rcframe.choice import Choice, format_choice, longest, parse_choice, shortest
from rcframe.errors import RequestError
from rcframe.options import build, component, option

NAMES = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,2}", fullmatch=True)
KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.text(alphabet="ab01./:+-_ ,=", min_size=1) | st.text(alphabet="xy,=").map(lambda inner: f"f({inner})")


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("pgd", Choice("pgd")),
        ("  pgd ", Choice("pgd")),
        ("fashion-mnist", Choice("fashion-mnist")),
        ("net.v2", Choice("net.v2")),
        ("3net", Choice("3net")),
        ("pgd:steps=5", Choice("pgd", {"steps": "5"})),
        ("pgd:steps=5,restarts=2", Choice("pgd", {"steps": "5", "restarts": "2"})),
        ("pgd: steps = 5 , restarts = 2 ", Choice("pgd", {"steps": "5", "restarts": "2"})),
        ("pgd:step_size=2/255", Choice("pgd", {"step_size": "2/255"})),
        ("data:seed=", Choice("data", {"seed": ""})),
        ("file:weights.safetensors", Choice("file", {"": "weights.safetensors"})),
        ("file:/tmp/a b/w.pt", Choice("file", {"": "/tmp/a b/w.pt"})),
        ("file:C:/w.pt", Choice("file", {"": "C:/w.pt"})),
        ("folder:pets,size=8", Choice("folder", {"": "pets", "size": "8"})),
        ("folder:(my,pets=1),size=8", Choice("folder", {"": "my,pets=1", "size": "8"})),
        ("folder:path=(my,pets=1)", Choice("folder", {"path": "my,pets=1"})),
        ("folder:path=((pets))", Choice("folder", {"path": "(pets)"})),
        ("folder:(old)pets(new)", Choice("folder", {"": "(old)pets(new)"})),
        ("folder:path=(old) pets (new)", Choice("folder", {"path": "(old) pets (new)"})),
        ("folder:path=f(a,b)", Choice("folder", {"path": "f(a,b)"})),
        ("folder:path=a=b", Choice("folder", {"path": "a=b"})),
        ("folder:path=()", Choice("folder", {"path": ""})),
        ("rcframe-attacks/pgd:steps=5", Choice("pgd", {"steps": "5"}, "rcframe-attacks")),
        ("Acme.Plugins/pgd", Choice("pgd", {}, "Acme.Plugins")),
    ],
)
def test_every_form_of_a_spec_string(text: str, choice: Choice) -> None:
    found = parse_choice(text, "thing")
    assert (found, found.distribution) == (choice, choice.distribution)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("nets.small:tiny", {"": "nets.small:tiny"}),
        ("a.b.c:Net2", {"": "a.b.c:Net2"}),
        ("nets.small:tiny,normalize=true", {"": "nets.small:tiny", "normalize": "true"}),
        ("nets.small:tiny , normalize=true", {"": "nets.small:tiny", "normalize": "true"}),
    ],
)
def test_a_model_can_be_a_function_of_ones_own(text: str, options: dict[str, str]) -> None:
    found = parse_choice(text, "model")
    assert (found.name, found.options) == ("python", options)
    assert str(found) == text
    assert parse_choice(format_choice(found), "model") == found


def test_only_models_are_functions() -> None:
    assert parse_choice("nets.small:tiny", "attack") == Choice("nets.small", {"": "tiny"})


def test_a_dotted_model_name_with_options_is_no_function() -> None:
    assert parse_choice("net.v2:width=2", "model") == Choice("net.v2", {"width": "2"})
    assert parse_choice("lenet:tiny", "model") == Choice("lenet", {"": "tiny"})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (":steps=5", "`` is not a component name"),
        ("PGD", "`PGD` is not a component name"),
        ("pgd steps=5", "`pgd steps=5` is not a component name"),
        ("-pgd", "`-pgd` is not a component name"),
        ("pgd-", "`pgd-` is not a component name"),
        ("/pgd", "`/pgd` is not a component name"),
        ("dist/", "`dist/` is not a component name"),
        ("pgd:", "nothing follows the colon"),
        ("pgd:steps=5,", "`` is not of the form option=value"),
        ("pgd:,steps=5", "`` is not of the form option=value"),
        ("pgd:=5", "`=5` is not of the form option=value"),
        ("pgd:2steps=5", "`2steps=5` is not of the form option=value"),
        ("pgd:step size=5", "`step size=5` is not of the form option=value"),
        ("pgd:steps=5,6", "`6` is not of the form option=value"),
        ("file:a,b", "`b` is not of the form option=value"),
        ("pgd:steps=5,steps=6", "option `steps` is given twice"),
        ("pgd:steps=(5", "its parentheses do not match"),
        ("pgd:steps=5)", "its parentheses do not match"),
        ("pgd:steps=)5(", "its parentheses do not match"),
    ],
)
def test_a_malformed_spec_string_is_quoted_with_the_reason_and_the_right_form(text: str, reason: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_choice(text, "attack")
    assert str(raised.value).startswith(f"Cannot read the attack `{text}`: {reason}")
    assert str(raised.value).endswith("Write it as `name` or `name:option=value,option=value`.")


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_text_is_said_to_be_one(text: str) -> None:
    with pytest.raises(RequestError) as raised:
        parse_choice(text, "teacher")
    assert str(raised.value).startswith("The teacher is an empty text: write its name, with options as in `name:option")


@given(NAMES, st.dictionaries(KEYS, VALUES), st.none() | NAMES)
def test_a_choice_is_read_back_from_its_spec_string(
    name: str, options: dict[str, str], distribution: str | None
) -> None:
    choice = Choice(name, options, distribution)
    found = parse_choice(format_choice(choice), "thing")
    assert (found.name, dict(found.options), found.distribution) == (name, options, distribution)


@component
class Sized:
    width: int = option(default=1, help="A number.")
    layers: tuple[int, ...] = option(default=(), help="Numbers.")
    path: str = option(default="", help="A text.", positional=True)


def test_a_built_component_is_written_with_its_changed_or_with_all_its_options() -> None:
    choice = Choice("sized", {"layers": "1+2", "width": "1"}, "acme", text="typed")
    built = Sized(layers=(1, 2))
    assert shortest(choice, built) == "acme/sized:layers=1+2"
    assert longest(choice, built) == "acme/sized:width=1,layers=1+2,path="
    assert shortest(Choice("sized"), Sized()) == "sized"
    for text in (shortest(choice, built), longest(choice, built)):
        assert build(Sized, parse_choice(text, "thing").options, "sized") == built


def test_all_options_of_a_function_of_ones_own_are_read_back() -> None:
    text = "python:function=nets.small:tiny,normalize=false"
    assert parse_choice(text, "model") == Choice("python", {"function": "nets.small:tiny", "normalize": "false"})


def test_a_choice_shows_what_was_typed() -> None:
    typed = "pgd:steps=5, restarts=2"
    assert str(parse_choice(typed, "attack")) == typed
    assert str(Choice("pgd", {"steps": 5, "random_start": True, "gammas": [1, 0.5], "": "x"})) == (
        "pgd:steps=5,random_start=true,gammas=1+0.5,x"
    )
    assert parse_choice("pgd:steps=5", "attack") == parse_choice(" pgd: steps=5", "attack")
    assert parse_choice("one/pgd", "attack") != parse_choice("two/pgd", "attack")

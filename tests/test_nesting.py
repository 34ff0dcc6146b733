from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rcframe.errors import RequestError
from rcframe.registry import registry

if TYPE_CHECKING:
    from tests.conftest import Install

#: A teacher that holds the spec string of another one, and that other one.
BODY = """
from rcframe import Teacher, component, option

@component
class Around(Teacher):
    "Holds the spec string of another teacher."
    teacher: str = option(default="small:size=3", help="The teacher inside.", positional=True)
    model: str = option(default="same", help="A network, which is no spec string as a rule.")
    count: int = option(default=1, help="Its own.")

    def plan(self, network, run):
        yield from ()


@component
class Warm(Teacher):
    "Takes a value without a name that is not the teacher inside."
    degrees: float = option(default=1.0, help="How warm.", positional=True)
    teacher: str = option(default="small", help="The teacher inside.")

    def plan(self, network, run):
        yield from ()


@component
class Small(Teacher):
    "Has options and a preset."
    size: int = option(default=1, help="A size.")
    rate: float = option(default=0.5, help="A rate.")
    presets = {"large": {"size": 9}}

    def plan(self, network, run):
        yield from ()
"""


@pytest.fixture(autouse=True)
def components(install: Install) -> None:
    targets = {"around": "acme_one:Around", "small": "acme_one:Small", "warm": "acme_one:Warm"}
    install(
        "acme-one",
        [{"kind": "teacher", "name": name, "target": target, "summary": "X."} for name, target in targets.items()],
        body=BODY,
    )


def refused(kind: str, spec: str) -> str:
    with pytest.raises(RequestError) as raised:
        registry().make(kind, spec)
    return str(raised.value)


@pytest.mark.parametrize(
    ("spec", "option", "written"),
    [
        ("around:teacher=small,size=2", "size", "around:teacher=(small:size=2)"),
        ("around:small,size=2", "size", "around:teacher=(small:size=2)"),
        ("around:size=2", "size", "around:teacher=(small:size=2)"),
        ("around:rate=0.1", "rate", "around:teacher=(small:size=3,rate=0.1)"),
        ("around:(small:size=5),rate=1/2,count=4", "rate", "around:teacher=(small:size=5,rate=1/2),count=4"),
        ("around:small,rate=0.1,size=2", "rate", "around:teacher=(small:rate=0.1,size=2)"),
        ("around:around,size=2", "size", "around:teacher=(around:teacher=(small:size=2))"),
        ("around:small,preset=large", "preset", "around:teacher=(small:preset=large)"),
        ("acme-one/around:small,size=2", "size", "acme-one/around:teacher=(small:size=2)"),
    ],
)
def test_an_option_of_a_component_inside_is_said_to_belong_there(spec: str, option: str, written: str) -> None:
    text = refused("teacher", spec)
    assert text.endswith(f" `{option}` is an option of `small`: write `{written}`.")
    registry().make("teacher", written)


def test_a_value_without_a_name_stays_where_it_is_not_that_of_the_component_inside() -> None:
    text = refused("teacher", "warm:5,teacher=small,size=2")
    assert " `size` is an option of `small`: write `warm:" in text
    written = text.rpartition("write `")[2].removesuffix("`.")
    warm = registry().make("teacher", written)
    assert vars(warm)["degrees"] == 5
    assert vars(warm)["teacher"] == "small:size=2"


def test_every_kind_that_holds_another_is_looked_into() -> None:
    assert refused("student", "kd:attack=pgd,steps=2").endswith(
        " `steps` is an option of `pgd`: write `kd:attack=(pgd:steps=2)`."
    )
    assert refused("attack", "transfer:pgd,steps=2").endswith(
        " `steps` is an option of `pgd`: write `transfer:attack=(pgd:steps=2)`."
    )


@pytest.mark.parametrize(
    "spec", ["around:foo=2", "small:foo=2", "around:nobody,foo=2", "around:(PGD),size=2", "around:teacher=,foo=1"]
)
def test_an_option_that_nothing_inside_has_is_refused_as_ever(spec: str) -> None:
    text = refused("teacher", spec)
    assert "has no option" in text
    assert "is an option of" not in text


def test_an_option_that_is_misplaced_beside_one_that_nobody_has_is_still_told_of() -> None:
    assert refused("teacher", "around:small,size=2,foo=1").endswith(
        "`size` is an option of `small`: write `around:teacher=(small:size=2)`."
    )
    assert "is an option of" not in refused("teacher", "around:small,foo=1,size=2")

"""The promises of components of any kind: how each is broken, and that it is caught."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar, Literal

import attrs
import pytest
from torch import nn

from rcframe.api import Component, Model
from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.hookspecs import Spec
from rcframe.options import at_least, component, option
from rcframe.registry import registry
from rcframe.testing import promises
from rcframe.testing.subject import Subject

MakeSubject = Callable[[type[Component]], Subject]


class Base(Model):
    def build(self, info: DataInfo) -> nn.Module:
        raise NotImplementedError


@component
class Sound(Base):
    """Has options of every type."""

    number: float = option(default=0.5, help="A number.")
    count: int | None = option(default=None, help="A count, or none.")
    choice: Literal["a", "b"] = option(default="b", help="A choice.")
    sizes: tuple[int, ...] = option(default=(3, 4), help="Several numbers.")
    text: str = option(default="a,b=c", help="Text that looks like a spec string.")
    on: bool = option(default=True, help="A switch.")


@component
class Undescribed(Base):
    """Has an option whose help is no sentence."""

    number: float = option(default=0.5, help="a number")


@component
class Unwritable(Base):
    """Has an option that no spec string can carry."""

    text: str = option(default="(", help="A bracket.")


@component
class Lossy(Base):
    """Changes an option while it is built."""

    count: int = option(default=3, help="A count.")

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "count", self.count + 1)


@attrs.define(kw_only=True, slots=False)
class Mutable(Base):
    """Is no component."""

    number: float = option(default=0.5, help="A number.")


@component
class Undocumented(Base):
    number: float = option(default=0.5, help="A number.")


@component
class Misprepared(Base):
    """Has a preset with an option that it has not."""

    number: float = option(default=0.5, help="A number.")
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"good": {"number": 1}, "bad": {"numbers": 1}}


@component
class Overprepared(Base):
    """Has a preset with a value that it refuses."""

    count: int = option(default=3, help="A count.", check=at_least(1))
    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {"bad": {"count": 0}}


def broken(one: Subject) -> set[str]:
    checks = [function for name, function in vars(promises).items() if name.startswith("check_")]
    found = set()
    for function in checks:
        if function is not promises.check_entry_module_is_free_of_torch:
            try:
                function(one)
            except (AssertionError, RequestError):
                found.add(function.__name__.removeprefix("check_"))
    return found


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (Sound, set()),
        (Undescribed, {"options_are_described"}),
        (Unwritable, {"options_survive_spec_string_and_toml"}),
        (Lossy, {"options_survive_spec_string_and_toml"}),
        (Mutable, {"components_are_immutable"}),
        (Undocumented, {"target_resolves"}),
        (Misprepared, {"presets_can_be_built"}),
        (Overprepared, {"presets_can_be_built"}),
    ],
)
def test_components_are_caught(cls: type[Component], expected: set[str], subject: MakeSubject) -> None:
    assert broken(subject(cls)) == expected


def test_a_summary_without_a_full_stop_is_caught(subject: MakeSubject) -> None:
    sound = subject(Sound)
    half = attrs.evolve(sound, spec=attrs.evolve(sound.spec, summary="Half a sentence"))
    assert broken(half) == {"target_resolves"}


@pytest.mark.parametrize("target", ["no.such.module:Thing", f"{__name__}:Missing", f"{__name__}:broken", "json:loads"])
def test_a_target_that_is_no_component_is_caught(
    target: str, subject: MakeSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = subject(Sound)
    wrong = attrs.evolve(sound.spec, target=target)
    plugins = [attrs.evolve(p, specs=(wrong,)) if p.distribution == "rcframe-tests" else p for p in registry().plugins]
    monkeypatch.setattr(registry(), "plugins", plugins)
    assert "target_resolves" in broken(attrs.evolve(sound, spec=wrong))


@pytest.mark.parametrize(
    ("source", "free"),
    [
        ("import json\n", True),
        ("from torch import nn\n", False),
        ("import nowhere\n", False),
    ],
)
def test_an_entry_module_that_imports_torch_is_caught(
    source: str, free: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rcframe_entry_under_check.py").write_text(source)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    spec = Spec(kind="model", name="x", target="rcframe_entry_under_check:X", summary="Nothing.")
    one = Subject("rcframe-tests", "rcframe_entry_under_check", spec)
    if free:
        promises.check_entry_module_is_free_of_torch(one)
        return
    with pytest.raises(AssertionError, match="import it inside the target module"):
        promises.check_entry_module_is_free_of_torch(one)


def test_an_option_that_is_ignored_is_caught(subject: MakeSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a component that is built otherwise could ignore one."""
    monkeypatch.setattr(promises, "build", lambda cls, given, asked: cls())
    with pytest.raises(AssertionError, match="an unknown option was accepted"):
        promises.check_unknown_option_is_refused(subject(Sound))

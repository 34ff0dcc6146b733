from __future__ import annotations

import functools
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

import rcframe.errors
from rcframe.cli.origin import Origin, origin
from rcframe.errors import listed

Make = Callable[[str, str, str], ModuleType]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Run source text as a module that lies in some folder."""

    def module(name: str, folder: str, source: str) -> ModuleType:
        file = tmp_path / folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        made = ModuleType(name)
        made.__file__ = str(file)
        exec(compile(file.read_text(), str(file), "exec"), made.__dict__)
        return made

    return module


def raised_by(call: Callable[[], object]) -> Exception:
    """Return what a call raises, without this line of the test, which no command line has."""
    try:
        call()
    except Exception as error:
        return error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
    raise AssertionError("it raised nothing")


def test_a_mistake_of_a_plugin_is_where_it_is(make: Make, tmp_path: Path) -> None:
    plugin = make("clever", "site-packages", "def step():\n    return 1 / 0\n")
    error = raised_by(plugin.step)
    assert origin(error, ["clever"]) == Origin(str(tmp_path / "site-packages" / "clever.py"), 2)


def test_what_a_library_refuses_is_the_mistake_of_who_called_it(make: Make, tmp_path: Path) -> None:
    plugin = make("clever", "site-packages", "def step(f, *x):\n\n    return f(*x)\n")
    here = Origin(str(tmp_path / "site-packages" / "clever.py"), 3)
    by_torch = raised_by(lambda: plugin.step(F.cross_entropy, torch.zeros(1, 2), torch.tensor([5])))
    by_python = raised_by(lambda: plugin.step(json.loads, "{"))
    assert origin(by_torch, ["clever"]) == origin(by_python, ["clever"]) == here


def test_a_mistake_of_somebody_elses_library_is_not_the_users(make: Make, tmp_path: Path) -> None:
    library = make("helper", "lib/python3/dist-packages", "def work():\n    raise ValueError\n")
    own = make("mine", "home", "def network(work):\n    work()\n")
    error = raised_by(lambda: own.network(library.work))
    assert origin(error, []) == Origin(str(tmp_path / "home" / "mine.py"), 2)


def test_the_innermost_of_several_plugins_is_named(make: Make, tmp_path: Path) -> None:
    inner = make("inner", "site-packages", "def act():\n    raise ValueError\n")
    outer = make("outer", "site-packages", "def step(act):\n    act()\n")
    error = raised_by(lambda: outer.step(inner.act))
    assert origin(error, ["inner", "outer"]).file == str(tmp_path / "site-packages" / "inner.py")


def test_a_plugin_that_calls_ours_wrongly_is_named_and_not_we(make: Make, tmp_path: Path) -> None:
    plugin = make("clever", "site-packages", "def step(listed):\n    listed([1])\n")
    error = raised_by(lambda: plugin.step(listed))
    assert origin(error, ["clever"]) == Origin(str(tmp_path / "site-packages" / "clever.py"), 2)


def test_without_a_plugin_it_is_our_own_mistake() -> None:
    error = raised_by(functools.partial(listed, [1]))  # type: ignore[list-item]  # the mistake
    found = origin(error, ["clever"])
    assert Path(found.file) == Path(rcframe.errors.__file__)
    assert "join" in Path(found.file).read_text().splitlines()[found.line - 1]


def test_what_nobody_wrote_has_no_place() -> None:
    assert origin(raised_by(functools.partial(json.loads, "{")), []) == Origin("an unknown place", 0)

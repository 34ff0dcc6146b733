from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rcframe

STUB = Path(rcframe.__file__).with_suffix(".pyi")


def announced() -> dict[str, str]:
    """Public names of the stub and the module that each comes from."""
    return {
        alias.asname or alias.name: f"rcframe.{node.module}"
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


PUBLIC = announced()
CONSTANTS = {"API", "KINDS", "Norm", "StudentPlan", "hookimpl"}


def test_the_stub_lists_what_the_package_offers() -> None:
    assert len(PUBLIC) > 70
    assert set(vars(rcframe)["__all__"]) == set(PUBLIC)
    assert set(PUBLIC) <= set(dir(rcframe))
    assert set(PUBLIC) >= {"run", "attack", "certifier", "pruner", "neuron", "student", "teacher", "option"}


@pytest.mark.parametrize(("name", "module"), PUBLIC.items())
def test_every_public_name_resolves_to_what_its_module_has(name: str, module: str) -> None:
    found = getattr(rcframe, name)
    assert found is getattr(sys.modules[module], name)
    if name not in CONSTANTS:
        assert found.__module__ == module


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - CONSTANTS))
def test_every_public_name_is_documented(name: str) -> None:
    found = getattr(rcframe, name)
    assert (vars(found).get("__doc__") if inspect.isclass(found) else found.__doc__) or "", name


@pytest.mark.parametrize("name", sorted(CONSTANTS))
def test_every_public_constant_is_explained_where_it_is_defined(name: str) -> None:
    source = inspect.getsource(sys.modules[PUBLIC[name]])
    assert re.search(rf"^#: [^\n]+\.\n{name} = ", source, re.MULTILINE)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - CONSTANTS))
def test_every_public_member_of_a_public_class_is_documented(name: str) -> None:
    found = getattr(rcframe, name)
    members = vars(found).items() if inspect.isclass(found) else ()
    offered = [(key, value) for key, value in members if inspect.isfunction(value) or isinstance(value, property)]
    assert [key for key, value in offered if not key.startswith("_") and not value.__doc__] == []


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        rcframe.no_such_name  # type: ignore[attr-defined]  # noqa: B018  # that is the point


def test_the_package_is_typed() -> None:
    assert STUB.with_name("py.typed").is_file()


@pytest.mark.parametrize(
    "statement",
    [
        "import rcframe",
        "from rcframe import Access, Attack, Certifier, Component, Model, Pruner, Spec, StudentStrategy, hookimpl",
        "from rcframe import Data, Teacher, Training, RequestError, component, option, at_least, KINDS, API",
        "import rcframe.cli, rcframe.registry; rcframe.registry.registry()",
    ],
)
def test_no_torch_until_something_needs_it(statement: str) -> None:
    code = f"{statement}\nimport sys\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

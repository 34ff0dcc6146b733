from __future__ import annotations

import inspect
import re

import attrs
import pytest

from rcframe import hookspecs
from rcframe.hookspecs import Spec

HOOKS = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("rcframe_")}


def test_the_hooks_and_what_each_is_told() -> None:
    taken = {name: list(inspect.signature(hook).parameters) for name, hook in HOOKS.items()}
    assert taken == {
        "rcframe_components": [],
        "rcframe_recipes": [],
        "rcframe_commands": ["group"],
        "rcframe_run_started": ["session", "folder"],
        "rcframe_epoch_done": ["session", "stage", "epoch", "metrics"],
        "rcframe_run_finished": ["session", "report"],
        "rcframe_run_stopped": ["session", "reason"],
    }


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_documented_typed_and_says_since_when_it_exists(name: str) -> None:
    hook = HOOKS[name]
    assert re.search(r"\. Added in API \d+\.\d+\.$", inspect.getdoc(hook) or "")
    signature = inspect.signature(hook)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(known.annotation is not known.empty for known in signature.parameters.values())


def test_every_field_of_an_announcement_is_explained() -> None:
    source = inspect.getsource(Spec)
    for field in attrs.fields(Spec):
        assert re.search(rf"#: [^\n]+\.\n    {field.name}: ", source), field.name


def test_an_announcement_is_frozen_and_for_the_first_api_unless_it_says_otherwise() -> None:
    spec = Spec(kind="attack", name="still", target="acme:Still", summary="Does nothing.")
    assert spec.api == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.name = "other"  # type: ignore[misc]  # that is the point
    with pytest.raises(TypeError):
        Spec("attack", "still", "acme:Still", "Does nothing.")  # type: ignore[call-arg]  # that is the point

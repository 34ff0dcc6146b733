"""docs/plugins.md keeps up with what plugins can use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rcframe
from rcframe import hookspecs
from rcframe.access import PRESETS, Access

GUIDE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("hook", [name for name in vars(hookspecs) if name.startswith("rcframe_")])
def test_every_hook_is_explained(hook: str) -> None:
    assert f"`{hook}" in GUIDE


@pytest.mark.parametrize("capability", list(Access), ids=lambda capability: capability.name)
def test_every_capability_is_in_the_table_with_the_presets_that_grant_it(capability: Access) -> None:
    (row,) = re.findall(rf"^\| `{capability.name}` \| .* \| (.*) \|$", GUIDE, flags=re.MULTILINE)
    assert row.split(", ") == [name for name, granted in PRESETS.items() if capability in granted]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`@?([a-z_]+|[A-Z][A-Za-z]+)(?:\(|`)", GUIDE))))
def test_what_looks_like_a_public_name_is_one(name: str) -> None:
    """Names in the guide are public, members of something public, or words of the language."""
    members = {member for public in rcframe.__dir__() for member in dir(getattr(rcframe, public, None))}
    words = {
        "bool",
        "int",
        "float",
        "str",
        "none",
        "name",
        "cell",
        "check",
        "tuple",
        "x",
        "y",
        "step",
        "against",
        "compare",
        "default",
        "help",
        "early_stop",
        "randomness",
        "peaks",
        "self",
        "True",
        "False",
        "None",
    }
    words |= {"rcframe", "parametrize_checks", "__attrs_post_init__"}
    shown = {flag.name for flag in Access} | {hook for hook in vars(hookspecs) if hook.startswith("rcframe_")}
    assert name in set(dir(rcframe)) | members | words | shown | {"positional", "batch", "target", "module", "access"}

"""What `rcframe new` writes works as it is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rcframe.api import KINDS
from rcframe.registry import registry
from rcframe.scaffold import _COMMANDS
from rcframe.testing import checks_of

if TYPE_CHECKING:
    from tests.conftest import Command, Install


def written(kind: str, cli: Command, install: Install, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a plugin and install it as it is; return its folder."""
    assert cli("new", kind, "my-idea", "--prefix", "acme").code == 0
    folder = Path("acme-my-idea")
    site = install("acme-my-idea", source="")
    (site / "acme_my_idea.py").unlink()
    shutil.copytree(folder / "src" / "acme_my_idea", site / "acme_my_idea")
    monkeypatch.setenv("PYTHONPATH", str(site))
    registry.cache_clear()
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_is_found_and_described(
    kind: str, cli: Command, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(kind, cli, install, monkeypatch)
    assert cli("info", kind, "my-idea").out.startswith(f"{kind} my-idea from acme-my-idea 1.0\n")
    readme = (folder / "README.md").read_text()
    assert _COMMANDS[kind].replace("$name", "my-idea") in readme
    assert not re.search(r"\$[a-z]", readme)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_keeps_the_promises_of_its_kind(
    kind: str, cli: Command, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(kind, cli, install, monkeypatch)
    checks = list(checks_of("acme-my-idea"))
    assert any(kind in check.name for check in checks)
    for check in checks:
        check()

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import rcframe
from rcframe.storage.code import code_of


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder on the import path of `digests`, with a package and a module."""
    site = tmp_path / "site"
    (site / "acme" / "cli").mkdir(parents=True)
    for name in ("acme/__init__.py", "acme/method.py", "acme/helper.py", "acme/cli/tables.py", "single.py"):
        (site / name).write_text("ANSWER = 42\n")
    return site


def digests(site: Path, *modules: str) -> dict[str, str] | None:
    """The digests that a new process finds."""
    code = (
        f"import importlib, json; from rcframe.storage.code import code_of; modules = {modules!r}\n"
        "for module in modules: importlib.import_module(module)\n"
        "print(json.dumps(code_of(modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
    # What lies in the folder of the process would come first.
    here = site.parent
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, cwd=here
    )
    found: dict[str, str] | None = json.loads(done.stdout)
    return found


def test_every_package_counts_once_by_all_its_sources(site: Path) -> None:
    found = digests(site, "acme.method", "acme.cli.tables", "single")
    assert found is not None
    assert list(found) == ["acme", "single"]
    assert found["acme"] != found["single"]
    assert found == digests(site, "acme", "single")


@pytest.mark.parametrize("edited", ["acme/__init__.py", "acme/method.py", "acme/helper.py", "acme/cli/tables.py"])
def test_editing_any_source_of_a_package_changes_its_digest(edited: str, site: Path) -> None:
    before = digests(site, "acme.method", "single")
    (site / edited).write_text("ANSWER = 43\n")
    after = digests(site, "acme.method", "single")
    assert before
    assert after
    assert (before["acme"] != after["acme"], before["single"] == after["single"]) == (True, True)


def test_adding_moving_and_removing_sources_count_too(site: Path) -> None:
    found = [digests(site, "acme")]
    (site / "acme" / "more.py").write_text("")
    found.append(digests(site, "acme"))
    (site / "acme" / "more.py").rename(site / "acme" / "cli" / "more.py")
    found.append(digests(site, "acme"))
    (site / "acme" / "helper.py").unlink()
    found.append(digests(site, "acme"))
    assert len({json.dumps(one) for one in found}) == 4


def test_what_is_no_source_does_not_count(site: Path) -> None:
    before = digests(site, "acme")
    (site / "acme" / "notes.txt").write_text("x")
    assert digests(site, "acme") == before


def test_our_own_command_line_and_sessions_decide_no_number(site: Path) -> None:
    """They may be edited without losing what is in the cache; what trains may not."""
    shutil.copytree(Path(rcframe.__file__).parent, site / "rcframe", ignore=shutil.ignore_patterns("__pycache__"))
    before = digests(site, "rcframe")
    assert before is not None
    for folder in ("cli", "experiments", "session", "scaffold", "testing"):
        (site / "rcframe" / folder / "__init__.py").write_text("# edited")
    assert digests(site, "rcframe") == before
    with (site / "rcframe" / "training" / "loop.py").open("a") as source:
        source.write("# edited")
    assert digests(site, "rcframe") != before


def test_libraries_count_by_their_version() -> None:
    major, minor = torch.__version__.split(".")[:2]
    ours = ".".join(np.__version__.split(".")[:2])
    found = code_of(["torch.nn.modules.linear", "numpy.random", "builtins", "torch.optim"])
    assert found == {"builtins": "python", "numpy": ours, "torch": f"{major}.{minor}"}


def test_nothing_depends_on_nothing() -> None:
    assert code_of([]) == {}


@pytest.mark.parametrize("module", ["math", "rcframe_never_imported"])
def test_a_module_without_a_source_cannot_be_told_apart(module: str) -> None:
    assert code_of(["rcframe", module]) is None


def test_a_folder_without_an_init_cannot_be_told_apart(site: Path) -> None:
    (site / "loose").mkdir()
    (site / "loose" / "method.py").write_text("")
    assert digests(site, "loose.method") is None


def test_a_package_in_an_archive_cannot_be_told_apart(site: Path) -> None:
    with zipfile.ZipFile(site / "packed.zip", "w") as archive:
        archive.writestr("packed/__init__.py", "")
    assert digests(site / "packed.zip", "packed") is None


def test_a_source_that_is_gone_cannot_be_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rcframe_gone.py").write_text("import os; os.remove(__file__)")
    monkeypatch.syspath_prepend(tmp_path)
    __import__("rcframe_gone")
    assert code_of(["rcframe_gone"]) is None
    del sys.modules["rcframe_gone"]

"""The rules of docs/architecture.md, held by reading the source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import rcframe

ROOT = Path(__file__).parents[1]
KERNEL = sorted((ROOT / "rcframe").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("*/src/**/*.py"))
METHODS = re.compile(
    r"\b(nasty|skeptical|hire|dnr|zskt|dafl|dfme|dfms|admm|kd|rslad|fitnets?|pgd|fgsm)\b", re.IGNORECASE
)
#: Folders of the kernel by floor; files directly in `rcframe/` are declarations, on the ground floor.
FLOORS = {
    "data": 1,
    "models": 2,
    "networks": 2,
    "storage": 1,
    "training": 3,
    "evaluation": 4,
    "builtins": 5,
    "session": 6,
    "scaffold": 6,
    "findings": 7,
    "experiments": 7,
    "reporting": 8,
    "testing": 8,
    "cli": 8,
}
#: Ground-floor files that serve the whole house.
ROOF = {"rcframe.library", "rcframe.__main__"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def floor_of(module: str) -> int:
    parts = module.split(".")
    return 9 if module in ROOF else FLOORS.get(parts[1], 0) if len(parts) > 1 else 0


def imports(path: Path) -> Iterator[str]:
    """The modules that are imported when a file is, not those that functions or type checkers import."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", KERNEL, ids=module_of)
def test_the_kernel_names_no_papers_method(path: Path) -> None:
    assert not METHODS.findall(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", KERNEL, ids=module_of)
def test_imports_point_downwards(path: Path) -> None:
    own = module_of(path)
    for imported in imports(path):
        if imported.startswith("rcframe"):
            assert floor_of(imported) <= floor_of(own), f"{own} imports {imported} from above"


@pytest.mark.parametrize("path", [p for p in KERNEL if p.parent.name == "rcframe"], ids=module_of)
def test_declarations_import_no_torch(path: Path) -> None:
    assert not {"torch", "torchvision", "sklearn", "scipy", "numpy"} & {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", PLUGINS, ids=lambda path: path.stem)
def test_plugins_import_public_names_only_and_never_each_other(path: Path) -> None:
    own = path.relative_to(ROOT / "plugins").parts[2]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rcframe"):
            if node.module.split(".")[0] == own:
                continue
            assert node.module == "rcframe", f"imports {node.module}: take public names from `rcframe`"
            assert {alias.name for alias in node.names} <= set(dir(rcframe))


@pytest.mark.parametrize("path", [*KERNEL, *PLUGINS, *sorted((ROOT / "tests").rglob("*.py"))], ids=str)
def test_files_stay_readable(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    longest = 700 if "tests" in path.parts else 400
    assert lines <= longest, f"{path.name} has {lines} lines: split it"

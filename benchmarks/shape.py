"""The shape of the kernel: file sizes, documentation, and test lines beside code lines.

python benchmarks/shape.py
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]


def code_lines(path: Path) -> int:
    """Count the lines that are neither blank nor only a comment."""
    return sum(1 for line in path.read_text(encoding="utf-8").splitlines() if line.strip() and line.strip()[0] != "#")


def public_definitions(path: Path) -> list[ast.ClassDef | ast.FunctionDef]:
    """List the public classes, functions and methods of a file."""
    kinds = (ast.ClassDef, ast.FunctionDef)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    outer = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    inner = [
        node
        for owner in outer
        if isinstance(owner, ast.ClassDef)
        for node in owner.body
        if isinstance(node, kinds) and not node.name.startswith("_")
    ]
    return [*outer, *inner]


def main() -> None:
    """Print the table."""
    print("| part | files | code lines | longest file | over 250 lines | public things documented | test lines |")
    print("|---|---|---|---|---|---|---|")
    parts = [("kernel", ROOT / "rcframe", ROOT / "tests")]
    parts += [(folder.name, folder / "src", folder / "tests") for folder in sorted((ROOT / "plugins").iterdir())]
    for name, code, tests in parts:
        files = sorted(code.rglob("*.py"))
        sizes = [len(path.read_text(encoding="utf-8").splitlines()) for path in files]
        public = [node for path in files for node in public_definitions(path)]
        documented = sum(ast.get_docstring(node) is not None for node in public)
        print(
            f"| {name} | {len(files)} | {sum(map(code_lines, files))} | {max(sizes)} | "
            f"{len([size for size in sizes if size > 250])} | {documented} of {len(public)} | "
            f"{sum(map(code_lines, tests.rglob('*.py')))} |"
        )


if __name__ == "__main__":
    main()

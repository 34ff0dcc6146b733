"""`rcframe new`: a plugin package that installs, passes its checks and runs, to be filled with your method."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from string import Template

from rcframe.api import API
from rcframe.errors import RequestError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
#: Files of every package: template, and where it goes.
_COMMON = (
    ("pyproject.toml.txt", "pyproject.toml"),
    ("readme.md.txt", "README.md"),
    ("changelog.md.txt", "CHANGELOG.md"),
    ("init.py.txt", "src/$module/__init__.py"),
    ("test_conformance.py.txt", "tests/test_conformance.py"),
)
#: What a component of each kind is used as, in a command that runs.
_COMMANDS = {
    "data": "rcframe run --data $name",
    "model": "rcframe run --model $name",
    "teacher": "rcframe run --teacher $name",
    "student": "rcframe run --student $name",
    "neuron": "rcframe run --neuron $name",
    "pruner": "rcframe run --pruner $name",
    "attack": "rcframe run --attack $name",
    "certifier": "rcframe run --certifier $name --eps 0.01",
    "engine": "rcframe matrix FILE --engine $name",
}


def write_plugin(kind: str, name: str, into: Path, prefix: str) -> Path:
    """Write a package with one component and return its folder."""
    for word, what in ((name, "component"), (prefix, "prefix")):
        if not _NAME.fullmatch(word):
            raise RequestError(f"`{word}` cannot be a {what} name: use lower-case letters, digits and hyphens.")
    distribution = f"{prefix}-{name}"
    folder = into / distribution
    if folder.exists():
        raise RequestError(f"`{folder}` exists already. Choose another name, or another place with --into.")
    words = {
        "kind": kind,
        "name": name,
        "distribution": distribution,
        "module": distribution.replace("-", "_"),
        "class_name": "".join(part.capitalize() for part in name.split("-")),
        "api": str(API[0]),
        "command": Template(_COMMANDS[kind]).substitute(name=name),
    }
    templates = files(__package__) / "templates"
    for template, place in (*_COMMON, (f"{kind}.py.txt", f"src/$module/{kind}.py")):
        text = Template((templates / template).read_text(encoding="utf-8")).substitute(words)
        path = folder / Template(place).substitute(words)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise RequestError(f"Cannot write `{path}`: {error.strerror}.") from error
    (folder / "src" / words["module"] / "py.typed").touch()
    return folder

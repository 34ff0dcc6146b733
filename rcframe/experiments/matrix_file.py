"""The file of a matrix: what all runs share, what is varied, what is left out, and runs of their own."""

from __future__ import annotations

import itertools
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from rcframe.api import KINDS
from rcframe.errors import RequestError, listed, nearest

#: A value of a setting as TOML gives it.
Given = object
#: Settings of a run, as in a `run.toml`; options of its parts stand there as `part.option`.
Settings = Mapping[str, Given]

_BARE_OPTION = re.compile(rf"^\s*((?:{'|'.join(KINDS)}|student_model)\.[a-z_]+)\s*=", re.MULTILINE)
_TOP = ("title", "seeds", "run", "vary", "exclude", "row")


@attrs.frozen
class Value:
    """One value of an axis: its label, and the settings it stands for."""

    label: str
    settings: Settings


@attrs.frozen
class Axis:
    """What is varied: a setting of a run, an option of a part, or a name for several settings at once."""

    name: str
    values: tuple[Value, ...]


@attrs.frozen
class Row:
    """A run of a matrix, before its seed is set."""

    name: str
    labels: Mapping[str, str]
    settings: Settings


@attrs.frozen(kw_only=True)
class MatrixFile:
    """A matrix as it is written down."""

    title: str
    #: Runs of each row, with seeds counted up from the one in `shared`.
    seeds: int = 1
    shared: Settings = attrs.field(factory=dict)
    axes: tuple[Axis, ...] = ()
    #: Labels by axis: what has all of these is left out.
    excluded: tuple[Mapping[str, tuple[str, ...]], ...] = ()
    own: tuple[Row, ...] = ()

    @property
    def most(self) -> int:
        """How many runs there are before exclusions; known without building them."""
        combined = math.prod(len(axis.values) for axis in self.axes) if self.axes else 0
        return (combined + len(self.own)) * self.seeds

    def rows(self) -> Iterator[Row]:
        """Yield every combination that is not left out, then the rows of their own."""
        titles = _titles(self.axes)
        for values in itertools.product(*(axis.values for axis in self.axes)) if self.axes else ():
            labels = {axis.name: value.label for axis, value in zip(self.axes, values, strict=True)}
            if any(_matches(labels, excluded) for excluded in self.excluded):
                continue
            settings = dict(self.shared)
            for value in values:
                settings |= value.settings
            # Seeds are repetitions, not something to compare.
            labels.pop("seed", None)
            name = ", ".join(_titled(titles[axis], label) for axis, label in labels.items())
            yield Row(name or self.title, labels, settings)
        yield from self.own


def _matches(labels: Mapping[str, str], excluded: Mapping[str, tuple[str, ...]]) -> bool:
    return all(labels[axis] in left_out for axis, left_out in excluded.items())


def _titles(axes: Sequence[Axis]) -> dict[str, str]:
    """Return what each axis is called in the names of rows: an option by its own name, where no other has that."""
    short = {axis.name: axis.name.rpartition(".")[2] for axis in axes}
    return {name: title if list(short.values()).count(title) == 1 else name for name, title in short.items()}


def _titled(axis: str, label: str) -> str:
    """Say what a plain value is; a spec string or a name speaks for itself."""
    return label if label[:1].isalpha() and label not in ("none", "true", "false") else f"{axis} {label}"


def read_matrix_file(path: Path) -> MatrixFile:
    """Read the file of a matrix."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RequestError(f"Cannot read the matrix `{path}`: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"`{path}` is not valid TOML: {error}.{_hint(path)}") from error
    return parse_matrix(document, path.stem, f"`{path}`")


def _hint(path: Path) -> str:
    """Say what is probably wrong with a file that is no TOML: an option without quotes."""
    bare = _BARE_OPTION.search(path.read_text(encoding="utf-8-sig", errors="replace"))
    return f' The name of an option stands in quotes: "{bare[1]}" = ...' if bare else ""


def parse_matrix(document: Mapping[str, Given], title: str, where: str) -> MatrixFile:
    """Build a matrix from what its TOML holds; `where` names it in messages."""
    for key in document:
        if key not in _TOP:
            raise RequestError(f"{where} has `{key}`, which no matrix has.{nearest(key, _TOP)} Known: {listed(_TOP)}.")
    shared = _settings(document.get("run", {}), f"[run] in {where}")
    axes = tuple(_axes(document.get("vary", {}), where))
    _refuse_rivals(axes, where)
    matrix = MatrixFile(
        title=str(document.get("title", title)),
        seeds=_seeds(document.get("seeds", 1), where),
        shared=shared,
        axes=axes,
        excluded=tuple(
            _excluded(entry, axes, where) for entry in _list_of(document.get("exclude", []), "exclude", where)
        ),
        own=tuple(_own_row(entry, shared, where) for entry in _list_of(document.get("row", []), "row", where)),
    )
    if not matrix.axes and not matrix.own:
        raise RequestError(f"{where} has no runs: say what to combine in [vary], or name runs of their own in [[row]].")
    return matrix


def _refuse_rivals(axes: Sequence[Axis], where: str) -> None:
    """Refuse axes that set the same: one would decide, and the labels of the other would be wrong."""
    owner: dict[str, str] = {}
    for axis in axes:
        for key in {key for value in axis.values for key in value.settings}:
            if owner.setdefault(key, axis.name) != axis.name:
                raise RequestError(f"[vary] in {where} sets `{key}` twice: by `{owner[key]}` and by `{axis.name}`.")


def _seeds(value: Given, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestError(f"`seeds` in {where} is {value!r}, but it must be a whole number of 1 or more.")
    return value


def _list_of(value: Given, key: str, where: str) -> Sequence[Settings]:
    entries = _several(value)
    tables = [entry for entry in entries if isinstance(entry, Mapping)]
    if len(tables) < len(entries):
        raise RequestError(f"`{key}` in {where} must be tables: write [[{key}]] and the settings below it.")
    return tables


def _several(value: Given) -> Sequence[Given]:
    return value if isinstance(value, list) else [value]


def _settings(value: Given, what: str) -> Settings:
    """Return settings with the options of parts as `part.option`, whether TOML took the dot as text or as a table."""
    if not isinstance(value, Mapping):
        raise RequestError(f"{what} must be a table of settings.")
    flat: dict[str, Given] = {}
    for key, setting in value.items():
        if isinstance(setting, Mapping) and setting and "name" not in setting:
            flat |= {f"{key}.{option}": inner for option, inner in setting.items()}
        else:
            flat[key] = setting
    _refuse_seeds(flat, what)
    return flat


def _refuse_seeds(names: Iterable[object], what: str) -> None:
    """Keep the number of runs where it is seen at once."""
    if "seeds" in names:
        raise RequestError(f"{what} has `seeds`, which is one number for all runs: write it before the first table.")


def _axes(vary: Given, where: str) -> Iterator[Axis]:
    if not isinstance(vary, Mapping):
        raise RequestError(f"[vary] in {where} must be a table: a list of values for each setting that is varied.")
    _refuse_seeds(vary, f"[vary] in {where}")
    for name, values in vary.items():
        if isinstance(values, list):
            found = tuple(Value(_label(value), _one(name, value)) for value in values)
        elif isinstance(values, Mapping):
            found = tuple(_labelled(name, str(label), value, where) for label, value in values.items())
        else:
            raise RequestError(
                f"`{name}` in [vary] of {where} is {values!r}: give a list of values, or a table of names."
            )
        if not found:
            raise RequestError(f"`{name}` in [vary] of {where} has no values, so the matrix is empty.")
        labels = [value.label for value in found]
        if twice := next((label for label in labels if labels.count(label) > 1), None):
            raise RequestError(f"`{name}` in [vary] of {where} has the value `{twice}` twice.")
        yield Axis(str(name), found)


def _one(name: str, value: Given) -> Settings:
    return {name: value}


def _labelled(name: str, label: str, value: Given, where: str) -> Value:
    from rcframe.session.config import PARTS, SETTINGS

    if name in PARTS and any(not isinstance(item, str | Mapping) for item in _several(value)):
        raise RequestError(
            f"`{name}.{label}` in [vary] of {where} names no {name}. To vary an option, put its name in quotes and "
            f'give a list: "{name}.{label}" = [{", ".join(map(_label, _several(value)))}].'
        )
    several = isinstance(value, Mapping) and name not in SETTINGS and "." not in name
    return Value(label, _settings(value, f"`{name}.{label}`") if several else _one(name, value))


def _label(value: Given) -> str:
    """Return how a value is called that has no name of its own."""
    if isinstance(value, list):
        return " then ".join(map(_label, value))
    if isinstance(value, Mapping):
        options = ",".join(f"{key}={_label(option)}" for key, option in value.items() if key != "name")
        return f"{value.get('name', '')}:{options}".strip(":")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _excluded(entry: Settings, axes: Sequence[Axis], where: str) -> Mapping[str, tuple[str, ...]]:
    """Read one exclusion, refusing what leaves out nothing because it is misspelt."""
    known = {axis.name: [value.label for value in axis.values] for axis in axes}
    found: dict[str, tuple[str, ...]] = {}
    for name, left_out in entry.items() if entry else ():
        if name not in known:
            raise RequestError(
                f"[[exclude]] in {where} names `{name}`, which is not varied.{nearest(name, known)} "
                f"Varied: {listed(known)}."
            )
        labels = tuple(map(_label, _several(left_out)))
        if not labels:
            raise RequestError(f"[[exclude]] in {where} names no value of `{name}`, so it leaves out nothing.")
        for label in labels:
            if label not in known[name]:
                raise RequestError(
                    f"[[exclude]] in {where} names the value `{label}` of `{name}`.{nearest(label, known[name])} "
                    f"Its values: {listed(known[name])}."
                )
        found[name] = labels
    if not found:
        raise RequestError(f"An [[exclude]] in {where} is empty: it would leave out everything.")
    return found


def _own_row(entry: Settings, shared: Settings, where: str) -> Row:
    own = dict(entry)
    name = own.pop("name", None)
    if not isinstance(name, str) or not name.strip():
        raise RequestError(f"A [[row]] in {where} has no `name`, by which its results are found.")
    return Row(name, {"row": name}, {**shared, **_settings(own, f"[[row]] `{name}` in {where}")})

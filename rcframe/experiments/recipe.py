"""Recipes: a published table as TOML, with the runs that repeat it at two scales, its figures and its claims."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from typing import Literal, cast, get_args

import attrs

from rcframe.errors import RequestError, listed, nearest
from rcframe.experiments.matrix_file import Given, MatrixFile, parse_matrix
from rcframe.findings.figures import kind_of, parse_about, unit_of
from rcframe.findings.records import PublishedRecord
from rcframe.registry import FoundRecipe, registry
from rcframe.session.evidence import About

#: `full` is the published data, network and schedule; `small` shows the direction in minutes, without a download.
Scale = Literal["small", "full"]

_TOP = ("title", "source", "needs", "figures", "published", "claim", "small", "full")
#: More than any figure; leaves out what is no finite number.
_MOST = 1e18
_CLAIM = ("says", "figure", "against", "compare", "by", "within", "scales", "note")


@attrs.frozen(kw_only=True)
class Pair:
    """Two rows that a claim compares."""

    higher: str
    lower: str


@attrs.frozen(kw_only=True)
class Claim:
    """What a paper says about its table, as comparisons of rows.

    Either the first row of every pair is higher than the second by more than `by`, or the two differ by less than
    `within`. Both are in points of percent for accuracies.
    """

    says: str
    about: About
    pairs: tuple[Pair, ...]
    #: The figure of the second row, where it is another one.
    against: About = attrs.field(default=attrs.Factory(lambda claim: claim.about, takes_self=True))
    by: float = 0.0
    within: float | None = None
    scales: tuple[Scale, ...] = get_args(Scale)
    #: Why it may fail at the small scale, if that is known.
    note: str = ""

    @property
    def unit(self) -> float:
        """What `by` and `within` are counted in, as a fraction of the figure."""
        return unit_of(self.about.what)


@attrs.frozen(kw_only=True)
class Recipe:
    """A published table that can be repeated."""

    #: `plugin/table`.
    name: str
    title: str
    source: str
    #: Distributions whose components the runs use.
    needs: tuple[str, ...]
    figures: tuple[About, ...]
    published: tuple[PublishedRecord, ...]
    claims: tuple[Claim, ...]
    scales: Mapping[Scale, MatrixFile]
    #: What each scale does otherwise than the paper.
    notes: Mapping[Scale, str]

    def missing(self) -> tuple[str, ...]:
        """Name the distributions that are needed and not installed."""
        return tuple(name for name in self.needs if not _installed(name))

    def claims_at(self, scale: Scale) -> tuple[Claim, ...]:
        """Return the claims that can be held against the rows of a scale."""
        return tuple(claim for claim in self.claims if scale in claim.scales)


def _installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def find_recipe(name: str) -> Recipe:
    """Read a recipe by its name; the part before the slash may be left out where no other has the same table."""
    known = registry().recipes()
    found = [recipe for recipe in known if name in (recipe.name, recipe.name.partition("/")[2])]
    if not found:
        names = [recipe.name for recipe in known]
        raise RequestError(
            f"No recipe `{name}`.{nearest(name, names)} Installed: {listed(names)}. A recipe comes with the plugin "
            f"whose name stands before its slash."
        )
    if len(found) > 1:
        raise RequestError(
            f"Several recipes are called `{name}`: {listed(recipe.name for recipe in found)}. Say which."
        )
    return read_recipe(found[0])


def read_recipe(found: FoundRecipe) -> Recipe:
    """Read a recipe that a plugin announced."""
    where = f"The recipe `{found.name}`"
    try:
        document = tomllib.loads(found.file.read_text(encoding="utf-8"))
    except OSError as error:
        raise RequestError(f"{where} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"{where} is not valid TOML: {error}.") from error
    return parse_recipe(document, found.name)


def parse_recipe(document: Mapping[str, Given], name: str) -> Recipe:
    """Build a recipe from what its TOML holds."""
    where = f"The recipe `{name}`"
    _refuse_unknown(document, _TOP, where)
    title = _text(document, "title", where)
    scales: dict[Scale, MatrixFile] = {}
    notes: dict[Scale, str] = {}
    for scale in get_args(Scale):
        matrix = dict(_table(document.get(scale), f"[{scale}]", where))
        notes[scale] = str(matrix.pop("note", ""))
        scales[scale] = parse_matrix(matrix, f"{name}: {title}", f"[{scale}] of the recipe `{name}`")
    figures = _figures(document.get("figures"), where)
    recipe = Recipe(
        name=name,
        title=title,
        source=_text(document, "source", where),
        needs=tuple(_texts(document.get("needs", []), "needs", where)),
        figures=figures,
        published=tuple(_published(_table(document.get("published", {}), "[published]", where), figures, where)),
        claims=tuple(_claim(entry, where) for entry in _tables(document.get("claim"), where)),
        scales=scales,
        notes=notes,
    )
    _check_rows(recipe)
    return recipe


def _check_rows(recipe: Recipe) -> None:
    """Refuse figures and claims about rows that no run has."""
    rows = {scale: [row.name for row in matrix.rows()] for scale, matrix in recipe.scales.items()}
    for claim in recipe.claims:
        for scale in claim.scales:
            for name in (name for pair in claim.pairs for name in (pair.higher, pair.lower)):
                if name not in rows[scale]:
                    raise RequestError(
                        f"The recipe `{recipe.name}` claims something about the row `{name}`, which [{scale}] does not "
                        f"have.{nearest(name, rows[scale])} Rows: {'; '.join(rows[scale])}."
                    )
    for figure in recipe.published:
        if figure.row not in rows["full"]:
            raise RequestError(
                f"The recipe `{recipe.name}` has published figures of the row `{figure.row}`, which [full] does not "
                f"have.{nearest(figure.row, rows['full'])} Rows: {'; '.join(rows['full'])}."
            )


def _figures(value: Given, where: str) -> tuple[About, ...]:
    found = [_figure(text, where) for text in _texts(value, "figures", where)]
    if not found or len(set(found)) < len(found):
        raise RequestError(f"{where} needs `figures`, each once: what its table shows of every row.")
    return tuple(found)


def _figure(text: str, where: str) -> About:
    try:
        return parse_about(text)
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error


def _published(rows: Mapping[str, Given], shown: Sequence[About], where: str) -> Iterator[PublishedRecord]:
    names = {about: f"{about.role} {about.what}" for about in shown}
    for row, found in rows.items():
        for figure, value in _table(found, f'[published."{row}"]', where).items():
            about = _figure(figure, where)
            if about not in names:
                raise RequestError(
                    f"{where} has a published `{figure}`, which is not among its figures."
                    f"{nearest(figure, names.values())} Figures: {listed(names.values())}."
                )
            unit = unit_of(about.what)
            number, spread = value if isinstance(value, list) and len(value) == 2 else (value, None)
            if not _is_number(number) or not (spread is None or _is_number(spread)):
                raise RequestError(f"{where} has `{figure} = {value!r}`: write a number, or [number, spread].")
            yield PublishedRecord(
                row=row,
                figure=names[about],
                value=cast(float, number) * unit,
                spread=None if spread is None else cast(float, spread) * unit,
            )


def _claim(entry: Mapping[str, Given], where: str) -> Claim:
    claim = f"A [[claim]] of {where[:1].lower()}{where[1:]}"
    _refuse_unknown(entry, _CLAIM, claim)
    by, within = entry.get("by", 0), entry.get("within")
    about = _figure(_text(entry, "figure", claim), claim)
    against = _figure(_text(entry, "against", claim), claim) if "against" in entry else about
    kinds = sorted({kind_of(about.what), kind_of(against.what)})
    if len(kinds) > 1:
        one, other = kinds
        raise RequestError(f"{claim} compares `{about.what}` with `{against.what}`: one is {one}, one {other}.")
    scales = tuple(_texts(entry.get("scales", list(get_args(Scale))), "scales", where))
    if unknown := [scale for scale in scales if scale not in get_args(Scale)]:
        raise RequestError(f"{claim} names the scale `{unknown[0]}`; there are {listed(get_args(Scale))}.")
    if not scales:
        raise RequestError(f"{claim} has no `scales`; leave that out for all of them.")
    if not _is_number(by) or not (within is None or _is_number(within)) or (within is not None and "by" in entry):
        raise RequestError(f"{claim} needs a number of points in `by` or in `within`.")
    if within is not None and cast(float, within) <= 0:
        raise RequestError(f"{claim} has `within = {within}`, but it must be more than 0.")
    return Claim(
        says=_text(entry, "says", claim),
        about=about,
        against=against,
        pairs=tuple(_pair(pair, about != against, claim) for pair in _several(entry.get("compare"), claim)),
        by=float(cast(float, by)),
        within=None if within is None else float(cast(float, within)),
        scales=cast("tuple[Scale, ...]", scales),
        note=str(entry.get("note", "")),
    )


def _pair(pair: Given, two_figures: bool, where: str) -> Pair:
    if two_figures and isinstance(pair, str):
        return Pair(higher=pair, lower=pair)
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(row, str) for row in pair):
        raise RequestError(f'{where} compares {pair!r}: write ["the higher row", "the lower row"].')
    return Pair(higher=pair[0], lower=pair[1])


def _several(value: Given, where: str) -> Sequence[Given]:
    if not isinstance(value, list) or not value:
        raise RequestError(f"{where} has no `compare`: a list of pairs of rows.")
    return value


def _tables(value: Given, where: str) -> Sequence[Mapping[str, Given]]:
    if not isinstance(value, list) or not value:
        raise RequestError(f"{where} claims nothing: say in [[claim]] what its table shows.")
    return [_table(entry, "[[claim]]", where) for entry in value]


def _table(value: Given, what: str, where: str) -> Mapping[str, Given]:
    if not isinstance(value, Mapping):
        raise RequestError(f"{where} has no table {what}.")
    return value


def _text(table: Mapping[str, Given], key: str, where: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{where} has no `{key}`.")
    return value


def _texts(value: Given, key: str, where: str) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise RequestError(f"`{key}` of {where[:1].lower()}{where[1:]} must be a list of texts.")
    return value


def _is_number(value: Given) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _MOST


def _refuse_unknown(table: Mapping[str, Given], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise RequestError(f"{where} has `{key}`.{nearest(key, known)} Known: {listed(known)}.")

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings, strategies as st

from rcframe.errors import RequestError
from rcframe.experiments.plan import make_plan
from rcframe.experiments.recipe import Claim, Pair, Recipe, find_recipe, parse_recipe, read_recipe
from rcframe.findings.records import PublishedRecord
from rcframe.registry import FoundRecipe, registry
from rcframe.session.evidence import About
from tests.experiments.test_matrix_file import ANYTHING

if TYPE_CHECKING:
    from tests.conftest import Install

SCALE: dict[str, Any] = {"seeds": 2, "run": {"data": "digits"}, "vary": {"student": ["kd", "plain"]}}
GOOD: dict[str, Any] = {
    "title": "Teachers help",
    "source": "Doe (2020), table 2",
    "needs": ["rcframe-distill"],
    "figures": ["student clean", "student  parameters", "teacher pgd:steps=5"],
    "published": {"kd": {"student clean": 91.25, "student  parameters": 1200}, "plain": {"student clean": [90, 0.5]}},
    "claim": [{"says": "It helps.", "figure": "student clean", "compare": [["kd", "plain"]]}],
    "small": {**SCALE, "note": "Digits."},
    "full": SCALE,
}


def changed(place: str, value: object) -> dict[str, Any]:
    """The good recipe with one thing changed, or left out for None; `place` is a path such as `claim.0.by`."""
    document = copy.deepcopy(GOOD)
    inner: Any = document
    *path, last = place.split(".")
    for key in path:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    if value is None:
        del inner[last]
    else:
        inner[int(last) if isinstance(inner, list) else last] = value
    return document


def claim(**changes: object) -> Claim:
    document = copy.deepcopy(GOOD)
    document["claim"][0] |= changes
    return parse_recipe(document, "mine/table").claims[0]


def refused(document: dict[str, Any]) -> str:
    with pytest.raises(RequestError) as raised:
        parse_recipe(document, "mine/table")
    assert "\n" not in str(raised.value)
    return str(raised.value)


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_recipe_is_read_with_its_figures_in_fractions() -> None:
    recipe = parse_recipe(GOOD, "mine/table")
    assert (recipe.name, recipe.title, recipe.source) == ("mine/table", "Teachers help", "Doe (2020), table 2")
    assert recipe.needs == ("rcframe-distill",)
    assert recipe.figures == (
        About("student", "clean"),
        About("student", "parameters"),
        About("teacher", "pgd:steps=5"),
    )
    assert recipe.published == (
        PublishedRecord(row="kd", figure="student clean", value=0.9125),
        PublishedRecord(row="kd", figure="student parameters", value=1200),
        PublishedRecord(row="plain", figure="student clean", value=0.9, spread=0.005),
    )
    assert recipe.claims == (
        Claim(says="It helps.", about=About("student", "clean"), pairs=(Pair(higher="kd", lower="plain"),)),
    )
    assert recipe.notes == {"small": "Digits.", "full": ""}
    assert {scale: matrix.seeds for scale, matrix in recipe.scales.items()} == {"small": 2, "full": 2}
    assert recipe.scales["small"].title == "mine/table: Teachers help"
    assert [row.name for row in recipe.scales["full"].rows()] == ["kd", "plain"]


def test_a_claim_may_compare_two_figures_of_one_row() -> None:
    found = claim(against="teacher clean", compare=["kd", ["kd", "plain"]])
    assert (found.about, found.against) == (About("student", "clean"), About("teacher", "clean"))
    assert found.pairs == (Pair(higher="kd", lower="kd"), Pair(higher="kd", lower="plain"))
    assert claim().against == claim().about


def test_a_claim_says_by_how_much_and_at_which_scales() -> None:
    assert claim().scales == ("small", "full")
    assert (claim().by, claim().within, claim().unit, claim().note) == (0.0, None, 0.01, "")
    assert claim(by=-2, note="Perhaps.").by == -2.0
    assert claim(by=-2, note="Perhaps.").note == "Perhaps."
    assert (claim(within=0.5).within, claim(figure="teacher nonzero").unit) == (0.5, 1.0)
    document = changed("claim.0.scales", ["full"])
    document["claim"].append({**document["claim"][0], "scales": ["small", "full"], "says": "Also."})
    recipe = parse_recipe(document, "mine/table")
    assert [found.says for found in recipe.claims_at("small")] == ["Also."]
    assert [found.says for found in recipe.claims_at("full")] == ["It helps.", "Also."]


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("title", None, "The recipe `mine/table` has no `title`."),
        ("title", " ", "has no `title`"),
        ("source", 3, "The recipe `mine/table` has no `source`."),
        ("sauce", "x", "The recipe `mine/table` has `sauce`. Did you mean `source`? Known: title, source, needs"),
        ("needs", "rcframe-distill", "`needs` of the recipe `mine/table` must be a list of texts."),
        ("needs", [3], "`needs` of the recipe `mine/table` must be a list of texts."),
        ("figures", None, "`figures` of the recipe `mine/table` must be a list of texts."),
        ("figures", [], "The recipe `mine/table` needs `figures`, each once"),
        ("figures", ["student clean", "student  clean"], "The recipe `mine/table` needs `figures`, each once"),
        ("figures", ["pupil clean"], "The recipe `mine/table`: Cannot read the figure `pupil clean`: write `teacher`"),
        ("published", 3, "has no table [published]."),
        ("published.kd", 3, 'has no table [published."kd"].'),
        ("published.kd.student clean", "91", "has `student clean = '91'`: write a number, or [number, spread]."),
        ("published.kd.student clean", True, "has `student clean = True`: write a number"),
        ("published.kd.student clean", [1, 2, 3], "has `student clean = [1, 2, 3]`: write a number"),
        ("published.kd.student clean", [1, "x"], "has `student clean = [1, 'x']`: write a number"),
        ("published.kd.student clean", float("nan"), "has `student clean = nan`: write a number"),
        ("published.kd.student clean", [1, float("inf")], "has `student clean = [1, inf]`: write a number"),
        (
            "published.kd.student clena",
            1,
            "has a published `student clena`, which is not among its figures. Did you mean `student clean`? Figures: ",
        ),
        ("published.kd.clean", 1, "The recipe `mine/table`: Cannot read the figure `clean`"),
        (
            "published.dk",
            {"student clean": 1},
            "The recipe `mine/table` has published figures of the row `dk`, which [full] does not have. Did you mean "
            "`kd`? Rows: kd; plain.",
        ),
        ("claim", None, "The recipe `mine/table` claims nothing: say in [[claim]] what its table shows."),
        ("claim", [], "claims nothing"),
        ("claim", {"says": "x"}, "claims nothing"),
        ("claim.0", 3, "has no table [[claim]]."),
        ("claim.0.syas", "x", "A [[claim]] of the recipe `mine/table` has `syas`. Did you mean `says`? Known: says, "),
        ("claim.0.says", None, "A [[claim]] of the recipe `mine/table` has no `says`."),
        ("claim.0.figure", None, "A [[claim]] of the recipe `mine/table` has no `figure`."),
        ("claim.0.figure", "clean", "A [[claim]] of the recipe `mine/table`: Cannot read the figure `clean`"),
        ("claim.0.compare", None, "A [[claim]] of the recipe `mine/table` has no `compare`: a list of pairs of rows."),
        ("claim.0.compare", [], "has no `compare`"),
        ("claim.0.compare", ["kd", "plain"], 'compares \'kd\': write ["the higher row", "the lower row"].'),
        ("claim.0.compare", [["kd"]], "compares ['kd']: write"),
        ("claim.0.against", "clean", "Cannot read the figure `clean`"),
        ("claim.0.against", "student bytes", "compares `clean` with `bytes`: one is a size, one an accuracy."),
        (
            "claim.0.against",
            "student peaks",
            "compares `clean` with `peaks`: one is a number of peaks, one an accuracy.",
        ),
        ("claim.0.against", "student calibration error", "one is a calibration error, one an accuracy."),
        ("claim.0.compare", [["kd", 3]], "compares ['kd', 3]: write"),
        (
            "claim.0.compare",
            [["kd", "plain"], ["plane", "kd"]],
            "The recipe `mine/table` claims something about the row `plane`, which [small] does not have. Did you mean "
            "`plain`? Rows: kd; plain.",
        ),
        ("claim.0.by", "2", "A [[claim]] of the recipe `mine/table` needs a number of points in `by` or in `within`."),
        ("claim.0.by", True, "needs a number of points"),
        ("claim.0.by", float("nan"), "needs a number of points"),
        ("claim.0.by", 10**400, "needs a number of points"),
        ("claim.0.within", [1], "needs a number of points"),
        ("claim.0.within", 0, "has `within = 0`, but it must be more than 0."),
        ("claim.0.within", -0.5, "has `within = -0.5`, but it must be more than 0."),
        (
            "claim.0.scales",
            ["smal"],
            "A [[claim]] of the recipe `mine/table` names the scale `smal`; there are small, ",
        ),
        ("claim.0.scales", [], "A [[claim]] of the recipe `mine/table` has no `scales`; leave that out for all"),
        ("claim.0.scales", "small", "`scales` of the recipe `mine/table` must be a list of texts."),
        ("small", None, "The recipe `mine/table` has no table [small]."),
        ("full", 3, "The recipe `mine/table` has no table [full]."),
        ("small.vray", {}, "[small] of the recipe `mine/table` has `vray`, which no matrix has. Did you mean `vary`?"),
        ("full.vary", {"student": []}, "`student` in [vary] of [full] of the recipe `mine/table` has no values"),
        ("full.seeds", 0, "`seeds` in [full] of the recipe `mine/table` is 0, but"),
    ],
)
def test_what_is_no_recipe_is_a_sentence(place: str, value: object, words: str) -> None:
    assert words in refused(changed(place, value))


def test_a_claim_has_one_measure() -> None:
    document = changed("claim.0.by", 1)
    document["claim"][0]["within"] = 1
    assert "needs a number of points in `by` or in `within`." in refused(document)


def test_a_claim_is_only_about_rows_of_its_scales() -> None:
    document = changed("full.vary", {"student": ["kd", "plain", "skeptical"]})
    document["claim"][0] |= {"compare": [["skeptical", "kd"]], "scales": ["full"]}
    assert parse_recipe(document, "mine/table").claims[0].scales == ("full",)
    document["claim"][0]["scales"] = ["full", "small"]
    assert "about the row `skeptical`, which [small] does not have. Rows: kd; plain." in refused(document)


PLACES = (
    *("title", "source", "needs", "figures", "published", "published.kd", "published.kd.student clean", "claim"),
    *("claim.0", "claim.0.by", "claim.0.within", "claim.0.compare", "claim.0.scales", "claim.0.figure"),
    *("claim.0.note", "small", "small.note", "small.vary", "full.run", "full.seeds", "full.row"),
)


@settings(max_examples=200)
@given(
    st.sampled_from(PLACES),
    ANYTHING | st.lists(ANYTHING),
)
def test_any_document_is_a_recipe_or_a_sentence(place: str, value: object) -> None:
    try:
        recipe = parse_recipe(changed(place, value), "mine/table")
    except RequestError:
        return
    assert isinstance(recipe, Recipe)


# -- finding ----------------------------------------------------------------------------------------------------------

ANNOUNCES = """
from pathlib import Path

@hookimpl
def rcframe_recipes():
    return [Path(__file__).with_name(name) for name in {names!r}]
"""
TEXT = """
title = "Mine"
source = "Doe"
figures = ["student clean"]
claim = [{ says = "It helps.", figure = "student clean", compare = [["kd", "plain"]] }]
[small.vary]
student = ["kd", "plain"]
[full.vary]
student = ["kd", "plain"]
"""


def put(install: Install, distribution: str, names: list[str], text: str = TEXT) -> Path:
    """Install a plugin with recipes, and an engine that carries them out in this process."""
    engine = {"kind": "engine", "name": "here", "target": "tests.experiments.engines:Here", "summary": "Here."}
    site = install(distribution, [engine], body=ANNOUNCES.format(names=names))
    for name in names:
        (site / name).write_text(text)
    return site


def test_a_recipe_is_found_by_its_name_or_its_table_alone(install: Install) -> None:
    put(install, "rcframe-acme", ["table-1.toml", "shared.toml"])
    put(install, "other", ["shared.toml"])
    names = [found.name for found in registry().recipes()]
    assert names == sorted(names)
    assert {"acme/table-1", "acme/shared", "other/shared"} <= set(names)
    assert find_recipe("acme/table-1") == find_recipe("table-1")
    assert find_recipe("other/shared").name == "other/shared"
    with pytest.raises(RequestError) as raised:
        find_recipe("shared")
    assert str(raised.value) == "Several recipes are called `shared`: acme/shared, other/shared. Say which."


def test_an_unknown_recipe_is_answered_with_the_nearest_and_all_others(install: Install) -> None:
    put(install, "rcframe-acme", ["table-1.toml"])
    with pytest.raises(
        RequestError, match=r"^No recipe `acme/tabel-1`\. Did you mean `acme/table-1`\? Installed: .*ac"
    ):
        find_recipe("acme/tabel-1")


def test_a_recipe_names_the_plugins_that_it_lacks(install: Install) -> None:
    put(install, "rcframe-acme", ["table-1.toml"], 'needs = ["rcframe", "rcframe-gone", "gone-too"]\n' + TEXT)
    assert find_recipe("acme/table-1").missing() == ("rcframe-gone", "gone-too")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"title = ", r"^The recipe `acme/table` is not valid TOML: "),
        (b"\xff", r"^The recipe `acme/table` is not valid TOML: .*utf-8"),
        (None, r"^The recipe `acme/table` cannot be read: No such file or directory\.$"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_named(content: bytes | None, words: str, tmp_path: Path) -> None:
    file = tmp_path / "table.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(RequestError, match=words):
        read_recipe(FoundRecipe("acme/table", file, "acme"))


@pytest.mark.parametrize("body", ["raise ValueError('no luck')", "raise SystemExit", "return [3]", "return 3"])
def test_a_plugin_that_cannot_name_its_recipes_hurts_no_other(
    body: str, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    put(install, "acme", ["table.toml"])
    install("bad", body=f"@hookimpl\ndef rcframe_recipes():\n    {body}\n")
    with caplog.at_level(logging.WARNING, "rcframe"):
        logging.getLogger("rcframe").addHandler(caplog.handler)
        try:
            names = [found.name for found in registry().recipes()]
        finally:
            logging.getLogger("rcframe").removeHandler(caplog.handler)
    assert "acme/table" in names
    assert not [name for name in names if name.startswith("bad/")]
    assert "`rcframe_recipes` of plugin `bad` failed: " in caplog.text


# -- what is installed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("found", registry().recipes(), ids=lambda found: found.name)
def test_every_shipped_recipe_tells_both_scales_and_has_claims_at_each(found: FoundRecipe) -> None:
    recipe = read_recipe(found)
    assert recipe.missing() == ()
    for scale, matrix in recipe.scales.items():
        plan = make_plan(matrix)
        assert [run.refusal for run in plan.runs if run.refusal] == []
        assert recipe.claims_at(scale)
        assert recipe.notes[scale].endswith(".")
        assert len({run.config.seed for run in plan.runs}) >= 3
    assert {"digits", "glyphs"} >= {run.config.data.name for run in make_plan(recipe.scales["small"]).runs}
    # Some tables were published as a drawing without figures.
    assert recipe.published or "figure" in recipe.notes["full"]

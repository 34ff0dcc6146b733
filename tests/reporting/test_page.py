from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import attrs
import pytest

from rcframe.findings.folders import collect
from rcframe.findings.tables import Table
from rcframe.reporting.exhibits import slug
from rcframe.reporting.page import page_of, upright
from rcframe.reporting.section import Command, Exhibit, Heat, HeatCell, HeatRow, Picture, Section, Strip, Warned
from rcframe.reporting.sections import SECTIONS, sections
from tests.reporting.runs_made import make_everything

EVIL = "<script>alert('\"&x')</script>\x1b[31m"


@attrs.define
class Read(HTMLParser):
    """What a page holds."""

    ids: list[str] = attrs.field(factory=list)
    targets: list[str] = attrs.field(factory=list)
    sources: list[str] = attrs.field(factory=list)
    tags: list[str] = attrs.field(factory=list)
    open: list[str] = attrs.field(factory=list)
    text: str = ""

    def __attrs_post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name in ("href", "xlink:href"):
                self.targets.append(value or "")
            elif name == "src":
                self.sources.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data


def read(page: str) -> Read:
    found = Read()
    found.feed(page)
    assert found.open == []
    return found


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A page with every section."""
    folder = make_everything(tmp_path_factory.mktemp("runs"))
    return page_of("Everything", list(sections(collect([folder]))))


def test_runs_that_kept_everything_have_every_section_in_order(everything: str) -> None:
    names = re.findall(r'<section id="([\w-]+)"', everything)
    assert names == [module.__name__.rpartition(".")[2].replace("curves", "training") for module in SECTIONS]


def test_every_name_is_there_once_and_every_link_leads_somewhere(everything: str) -> None:
    found = read(everything)
    assert len(set(found.ids)) == len(found.ids)
    inside = [target.removeprefix("#") for target in found.targets if target != "data:,"]
    assert set(inside) <= set(found.ids)
    assert found.targets.count("#summary") == 1


def test_nothing_is_fetched_and_nothing_is_run(everything: str) -> None:
    found = read(everything)
    assert all(source.startswith("data:image/png;base64,") for source in found.sources)
    assert "script" not in found.tags
    assert not re.search(r"url\((?!#)|@import", everything)
    assert not re.search(r"https?://(?!www\.w3\.org/)", everything)


def test_every_figure_has_a_caption_and_its_data_behind_it(everything: str) -> None:
    figures = re.findall(r"<figure.*?</figure>", everything, re.DOTALL)
    assert len(figures) > 15
    for figure in figures:
        assert re.search(r"<figcaption>\S", figure)
        assert re.search(r"<details>.*<table>.*<th scope=\"col\".*<tbody>.*<th scope=\"row\"", figure, re.DOTALL)


def test_every_picture_has_words(everything: str) -> None:
    assert all(words.strip() for words in re.findall(r'<img [^>]*alt="([^"]*)"', everything))
    assert everything.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]+"', everything)) > 10


def test_texts_of_users_are_never_markup() -> None:
    table = Table(EVIL, (EVIL, "b"), ((EVIL, f"`{EVIL}`"),), (EVIL,))
    strips = (Strip(EVIL, (Picture("data:image/png;base64,", EVIL),)),)
    heat = Heat(EVIL, (EVIL,), (HeatRow(EVIL, (HeatCell(1, 1.0, good=True),)),))
    section = Section(
        name="a",
        title=EVIL,
        says=(f"Of `{EVIL}`, {EVIL}",),
        tables=(table,),
        folded=(table,),
        exhibits=(Exhibit(name="b", caption=EVIL, data=table, strips=strips, heat=heat),),
        warnings=(Warned(EVIL, EVIL),),
        commands=(Command(EVIL, EVIL),),
    )
    page = page_of(EVIL, [section])
    found = read(page)
    assert "script" not in found.tags
    assert "\x1b" not in page
    assert found.text.count("<script>alert('\"&x')</script>\\x1b[31m") > 15


def test_a_warning_begins_with_its_kind_in_bold() -> None:
    warnings = (Warned("Few images", "only `4`."), Warned("", "Odd."))
    page = page_of("t", [Section(name="a", title="A", warnings=warnings)])
    assert "<li><strong>Few images</strong>: only <code>4</code>.</li><li>Odd.</li>" in page


def test_a_heat_table_shows_counts_with_shares_and_leaves_zeros_empty() -> None:
    cells = (HeatCell(1234, 0.25, good=True), HeatCell(3702, 0.75, good=False), HeatCell(0, 0.0, good=False))
    heat = Heat("class", ("a", "b", "a long name"), (HeatRow("a", cells),))
    shown = Exhibit(name="b", caption="c", data=Table("t", ("a",), (("1",),)), heat=heat)
    page = page_of("t", [Section(name="a", title="A", exhibits=(shown,))])
    assert '<td class="good" style="--heat: 22%">1,234<small>25%</small></td>' in page
    assert '<td class="bad" style="--heat: 39%">3,702<small>75%</small></td><td></td>' in page
    assert '<table class="heat upright">' in page


def test_what_stands_between_backticks_is_code() -> None:
    page = page_of("t", [Section(name="a", title="A", says=("Of `kd` and `<b>`.", "An odd ` sign."))])
    assert "<p>Of <code>kd</code> and <code>&lt;b&gt;</code>.</p>" in page
    assert "<p>An odd ` sign.</p>" in page


def test_wide_tables_say_once_what_every_row_says_and_are_cut() -> None:
    columns = ("run", *(f"column {number}" for number in range(12)))
    rows = tuple((f"run {row}", *(f"{row} [{row}, {number}]" * 2 for number in range(11)), "same") for row in range(3))
    text = read(page_of("t", [Section(name="a", title="A", tables=(Table("Found", columns, rows),))])).text
    assert "The same in every row: column 11 same." in text
    assert "Found, continued" in text
    assert all(f"column {number}" in text for number in range(12))


def test_a_single_row_stands_upright() -> None:
    table = upright(Table("t", ("run", "clean", "n"), (("a", "90", "10"),), ("note",)))
    assert (table.columns, table.rows, table.notes) == (("run", "a"), (("clean", "90"), ("n", "10")), ("note",))


def test_the_same_runs_give_the_same_page(tmp_path: Path) -> None:
    folder = make_everything(tmp_path)
    pages = {page_of("t", list(sections(collect([folder / "heat"])))) for _ in range(2)}
    assert len(pages) == 1


@pytest.mark.parametrize(("text", "name"), [("A b/c:d=1", "a-b-c-d-1"), ("<>", "it"), ("x-", "x")])
def test_names_are_made_of_words(text: str, name: str) -> None:
    assert slug(text) == name

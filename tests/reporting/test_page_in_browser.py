"""The page as people see it, in a real browser."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import numpy as np
import pytest
from PIL import Image

from rcframe.findings.folders import collect
from rcframe.reporting.write import write_report
from tests.reporting.runs_made import make_everything

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Set where a missing browser is a failure.
REQUIRED = os.environ.get("RCFRAME_REQUIRE_BROWSER")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = (400, 1400)
#: Of texts in drawings, in CSS pixels.
LEAST_PIXELS = 9
#: Of texts against what they stand on (WCAG, level AA).
LEAST_CONTRAST = 4.5

TEXT_SIZES = """() => [...document.querySelectorAll("svg text")].map(text =>
    parseFloat(getComputedStyle(text).fontSize) * text.getCTM().a)"""

#: Pairs of texts in one drawing whose boxes overlap by more than a pixel.
OVERLAPS = """() => [...document.querySelectorAll("svg[role=img]")].flatMap(svg => {
    const texts = [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
    return texts.flatMap(([words, a], place) => texts.slice(place + 1)
        .filter(([_, b]) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
        .map(([others]) => `${words} | ${others}`));
})"""

#: Texts that reach out of their drawing.
CUT_OFF = """() => [...document.querySelectorAll("svg[role=img]")].flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    return [...svg.querySelectorAll("text")].filter(text => {
        const box = text.getBoundingClientRect();
        return box.left < frame.left - 2 || box.right > frame.right + 2
            || box.top < frame.top - 2 || box.bottom > frame.bottom + 2;
    }).map(text => text.textContent);
})"""

#: The texts that stand out least from the page, with their contrast.
CONTRASTS = """() => {
    const probe = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const light = color => {
        probe.clearRect(0, 0, 1, 1);
        probe.fillStyle = color;
        probe.fillRect(0, 0, 1, 1);
        const parts = [...probe.getImageData(0, 0, 1, 1).data].slice(0, 3).map(part => part / 255)
            .map(part => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if (color !== "rgba(0, 0, 0, 0)") return color;
        }
        return "white";
    };
    const texts = [...document.querySelectorAll("body *")].filter(element =>
        [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.textContent.trim()));
    return texts.map(element => {
        const style = getComputedStyle(element);
        const own = light(element instanceof SVGElement ? style.fill : style.color), paper = light(behind(element));
        return [(Math.max(own, paper) + 0.05) / (Math.min(own, paper) + 0.05), element.textContent.slice(0, 40)];
    }).sort((one, other) => one[0] - other[0]).slice(0, 3);
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The browser of this machine."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        if REQUIRED:
            pytest.fail(f"RCFRAME_REQUIRE_BROWSER is set, but none of {', '.join(BROWSERS)} is there.")
        pytest.skip("no browser is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section."""
    folder = make_everything(tmp_path_factory.mktemp("runs"))
    return next(write_report(collect([folder]), folder / "report", "Everything <&>"))


@pytest.fixture
def opened(browser: Browser, report: Path) -> Iterator[Page]:
    """The report in the browser, which says nothing about it and lets nothing in or out."""
    page = browser.new_page()
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    yield page
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]


def opened_at(page: Page, width: int) -> Page:
    page.set_viewport_size({"width": width, "height": 900})
    return page


@attrs.frozen
class Corners:
    """The colours of the lower left and of the lower right corner of a picture."""

    left: tuple[int, ...]
    right: tuple[int, ...]


def corners(screenshot: bytes) -> Corners:
    """Look at a box where no letter stands."""
    pixels = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"))
    return Corners(tuple(pixels[-6, 1].tolist()), tuple(pixels[-6, -2].tolist()))


def test_it_shows_every_section_and_picture(opened: Page) -> None:
    assert opened.title() == "Everything <&>"
    assert opened.locator("section h2").count() == 14
    assert opened.locator("svg[role=img]").count() > 15
    broken = "() => [...document.images].filter(image => !image.complete || !image.naturalWidth).length"
    assert opened.evaluate(broken) == 0


def test_the_contents_lead_to_the_sections(opened: Page) -> None:
    opened.get_by_role("link", name="Training curves").click()
    assert opened.evaluate("() => document.querySelector('#training').getBoundingClientRect().top") < 900


@pytest.mark.parametrize("width", [360, *WIDTHS])
@pytest.mark.parametrize("data", ["shut", "open"])
def test_the_page_never_scrolls_sideways(opened: Page, width: int, data: str) -> None:
    if data == "open":
        opened.evaluate("() => document.querySelectorAll('details').forEach(one => one.open = true)")
    widest = opened_at(opened, width).evaluate("() => document.documentElement.scrollWidth")
    assert widest <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_goes_on_beyond_its_box_shades_that_edge_until_its_end_is_seen(opened: Page, scheme: str) -> None:
    opened.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    box = opened_at(opened, 360).locator("#summary .scroll").first
    assert box.evaluate("box => box.scrollWidth > box.clientWidth + 50")
    begun = corners(box.screenshot())
    box.evaluate("box => box.scrollLeft = box.scrollWidth")
    ended = corners(box.screenshot())
    assert begun.left == ended.left == ended.right
    assert begun.right != begun.left
    # All of it is seen in a wide window.
    narrow = opened_at(opened, 1400).locator("#claims .scroll").last
    assert narrow.evaluate("box => box.scrollWidth <= box.clientWidth")
    assert corners(narrow.screenshot()).right == ended.right


@pytest.mark.parametrize("width", [360, 400])
def test_the_title_of_a_wide_table_and_its_first_column_stay_in_sight(opened: Page, width: int) -> None:
    opened.evaluate("() => document.querySelectorAll('details').forEach(one => one.open = true)")
    places: list[tuple[float, float]] = opened_at(opened, width).evaluate(
        """() => [...document.querySelectorAll(".scroll")].flatMap(box => {
            const seen = box.querySelectorAll("caption span, thead th:first-child, tbody tr:first-child th");
            return [0, box.scrollWidth].flatMap(to => {
                box.scrollLeft = to;
                return [...seen].map(one => one.getBoundingClientRect()).map(place => [place.left, place.right]);
            });
        })"""
    )
    assert len(places) > 100
    assert min(left for left, _ in places) >= 0
    assert max(right for _, right in places) <= width


@pytest.mark.parametrize("width", WIDTHS)
def test_texts_in_drawings_are_large_enough(opened: Page, width: int) -> None:
    sizes: list[float] = opened_at(opened, width).evaluate(TEXT_SIZES)
    assert len(sizes) > 100
    assert min(sizes) >= LEAST_PIXELS


@pytest.mark.parametrize("width", WIDTHS)
def test_a_matrix_of_classes_is_seen_whole_and_its_counts_are_legible(opened: Page, width: int) -> None:
    heat = opened_at(opened, width).locator("table.heat").first
    assert heat.evaluate("table => table.parentElement.scrollWidth - table.parentElement.clientWidth") <= 0
    small: list[float] = heat.evaluate(
        "table => [...table.querySelectorAll('td.good, td small')].map(e => parseFloat(getComputedStyle(e).fontSize))"
    )
    assert len(small) > 4
    assert min(small) >= LEAST_PIXELS
    assert heat.locator("td").evaluate_all("cells => cells.every(cell => cell.scrollWidth <= cell.clientWidth)")


def test_a_matrix_of_outputs_shows_shares_and_leaves_out_what_rounds_to_none(opened: Page) -> None:
    heat = opened.locator("#outputs table.heat").first
    told: list[list[str]] = heat.locator("tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.querySelectorAll('td')].map(cell => cell.innerText))"
    )
    assert len(told) == 4
    assert all(cell == "" or 1 <= int(cell) <= 100 for row in told for cell in row)
    assert all(abs(sum(int(cell or 0) for cell in row) - 100) <= 2 for row in told)
    assert heat.locator("td.good").count() == 4
    assert heat.locator("td small").count() == 0


def test_what_is_right_and_what_is_wrong_has_a_colour_of_its_own_that_grows_with_the_share(opened: Page) -> None:
    colours: list[list[str]] = opened.locator("table.heat").first.evaluate(
        "table => ['td.good', 'td.bad', 'td:empty'].map(kind => [...table.querySelectorAll(kind)]"
        ".map(cell => getComputedStyle(cell).backgroundColor))"
    )
    kinds = [set(kind) for kind in colours]
    assert all(kinds)
    assert not kinds[0] & kinds[1]
    assert not (kinds[0] | kinds[1]) & kinds[2]


@pytest.mark.parametrize("width", WIDTHS)
def test_no_label_covers_another_or_is_cut_off(opened: Page, width: int) -> None:
    assert opened_at(opened, width).evaluate(OVERLAPS) == []
    assert opened.evaluate(CUT_OFF) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_texts_stand_out_from_the_page(opened: Page, scheme: str) -> None:
    opened.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    weakest: list[tuple[float, str]] = opened.evaluate(CONTRASTS)
    assert weakest[0][0] >= LEAST_CONTRAST, weakest


def test_the_dark_scheme_is_dark(opened: Page) -> None:
    colour = "() => getComputedStyle(document.body).backgroundColor"
    opened.emulate_media(color_scheme="light")
    light = opened.evaluate(colour)
    opened.emulate_media(color_scheme="dark")
    assert (light, opened.evaluate(colour)) == ("rgb(255, 255, 255)", "rgb(21, 24, 28)")


def test_data_opens_by_keyboard(opened: Page) -> None:
    opened.locator("figure summary").first.focus()
    opened.keyboard.press("Enter")
    assert opened.locator("figure details table").first.is_visible()


def test_it_prints_on_white_without_the_contents_and_within_the_paper(opened: Page) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    # A4 without its margins of 15 mm.
    opened_at(opened, 680)
    assert opened.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.evaluate("() => document.documentElement.scrollWidth") <= 680
    assert not opened.locator("nav").is_visible()
    assert opened.locator("svg[role=img]").first.is_visible()
    printed = opened.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert len(printed) > 50_000

from __future__ import annotations

import re

from rcframe.reporting.svg import INK, canvas, named_apart, svg_of


def drawn(words: str = "") -> str:
    with canvas(100, 50) as figure:
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.plot([0, 1.123456789], [0, 1], color=INK, marker="o")
        return svg_of(figure, words)


def ids(svg: str) -> list[str]:
    return re.findall(r' id="([^"]*)"', svg)


def test_an_element_brings_no_header_style_sheet_date_or_size() -> None:
    svg = drawn("words")
    assert svg.startswith('<svg role="img" aria-label="words"')
    assert svg.endswith("</svg>")
    assert not re.search(r"<style|<metadata|<\?xml|<!DOCTYPE|dc:date", svg)
    assert not re.search(r' (?:width|height)="', svg[: svg.index(">")])
    assert 'viewBox="0 0 100 50"' in svg


def test_only_names_that_are_used_are_left_and_all_that_are_used() -> None:
    svg = drawn()
    assert ids(svg)
    assert set(ids(svg)) == set(re.findall(r'(?:href="|url\()#([^")]+)', svg))


def test_numbers_have_two_decimals() -> None:
    assert not re.search(r"\d\.\d{3}", drawn())


def test_two_elements_share_no_name() -> None:
    first, second = named_apart(drawn(), "a-"), named_apart(drawn(), "b-")
    assert not set(ids(first)) & set(ids(second))
    assert set(ids(first)) == set(re.findall(r'(?:href="|url\()#([^")]+)', first))


def test_colours_of_the_page_keep_their_names_when_elements_are_named_apart() -> None:
    assert "var(--ink)" in named_apart(drawn(), "a-")

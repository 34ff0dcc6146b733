from __future__ import annotations

import itertools
import re
from typing import Literal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings, strategies as st

from rcframe.reporting.chart import COLOURS, Axis, Chart, Line, Point, Style
from rcframe.reporting.drawing import BarRow, bar_swatch, draw, draw_bars, legend, swatch

SVG = "{http://www.w3.org/2000/svg}"


def chart(*lines: Line, x: Axis | None = None) -> Chart:
    return Chart(x=x or Axis("across", at_values=True), y=Axis("up"), lines=lines)


def texts(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in ET.fromstring(svg).iter(f"{SVG}text")]


def line(*points: tuple[float, float], number: int = 0, dashed: bool = False) -> Line:
    return Line("line", tuple(Point(x, y, y - 1, y + 1) for x, y in points), Style(number, dashed))


def test_axes_say_what_they_show() -> None:
    shown = texts(draw(chart(line((1, 5), (2, 7))), "words"))
    assert {"across", "up", "1", "2"} <= set(shown)


def test_what_a_drawing_shows_is_said_in_words_that_are_escaped() -> None:
    root = ET.fromstring(draw(chart(line((1, 5), (2, 7))), 'of <a> & "b"'))
    assert (root.get("role"), root.get("aria-label")) == ("img", 'of <a> & "b"')


def test_the_same_chart_is_drawn_the_same() -> None:
    drawn = {draw(chart(line((1, 5), (2, 7))), "words") for _ in range(3)}
    assert len(drawn) == 1


def test_users_signs_are_text_not_mathematics_or_markup() -> None:
    assert "$x^2$ <i>" in texts(draw(chart(line((1, 5), (2, 7)), x=Axis("$x^2$ <i>")), "words"))
    bars = draw_bars([BarRow("$a$ <b>\x1b", (3.0,))], "label", "words")
    assert "$a$ <b>\\x1b" in texts(bars)


def test_all_colours_come_from_the_page() -> None:
    drawn = draw(chart(*(line((1, number), (2, 7), number=number) for number in range(COLOURS))), "words")
    assert {f"var(--line-{number})" for number in range(COLOURS)} <= set(re.findall(r"var\(--[\w-]+\)", drawn))
    assert not re.findall(r"(?:fill|stroke): #\w+", drawn)


def test_intervals_of_a_plain_line_are_not_drawn() -> None:
    points = tuple(Point(x, 5, 1, 9) for x in (1, 2))
    bare = tuple(Point(x, 5) for x in (1, 2))
    fixed = Axis("up", low=0, high=10)

    def drawn(of: tuple[Point, ...], form: Literal["plain", "bars"]) -> str:
        lines = (Line("line", of, Style(0), form),)
        return draw(Chart(x=Axis("across"), y=fixed, lines=lines), "words")

    assert drawn(points, "plain") == drawn(bare, "plain")
    assert drawn(points, "bars") != drawn(bare, "bars")


def test_a_thick_line_is_thicker() -> None:
    widths = [
        [float(width) for width in re.findall(r"stroke-width: ([\d.]+)", swatch(Style(0, thick=thick), "plain"))]
        for thick in (False, True)
    ]
    assert max(widths[1]) > 1.5 * max(widths[0])


def test_lines_are_told_apart_without_colour() -> None:
    shapes = [
        re.sub(r"var\(--line-\d\)", "", swatch(Style(number, dashed), "bars"))
        for number in range(COLOURS)
        for dashed in (False, True)
    ]
    assert len(set(shapes)) == len(shapes)
    assert swatch(Style(0, dashed=True), "mark") != swatch(Style(0), "mark")


def test_bars_are_as_long_as_their_values() -> None:
    svg = draw_bars([BarRow("a", (10.0,)), BarRow("b", (40.0,))], "label", "words", largest=50)
    lengths = []
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        if "var(--line-0)" in path.get("style", ""):
            xs = [float(x) for x in re.findall(r"[ML] ([\d.]+) ", path.get("d", ""))]
            lengths.append(max(xs) - min(xs))
    assert len(lengths) == 2
    assert lengths[1] / lengths[0] == pytest.approx(4, rel=0.01)


def test_bars_of_several_series_have_a_colour_each() -> None:
    svg = draw_bars([BarRow("a", (1.0, 2.0, 3.0))], "label", "words")
    assert set(re.findall(r"--line-\d", svg)) == {"--line-0", "--line-1", "--line-2"}
    assert "--line-2" in bar_swatch(2)


def test_long_names_beside_bars_are_shortened() -> None:
    shown = texts(draw_bars([BarRow("a" * 100, (1.0,))], "label", "words"))
    assert [text for text in shown if text.startswith("a")] == ["a" * 23 + "…"]


def markers(svg: str) -> int:
    """How often the marker of a drawing's only line is placed."""
    root = ET.fromstring(svg)
    clipped = [use for group in root.iter(f"{SVG}g") for use in group.findall(f"{SVG}use")]
    return sum("--line-0" in use.get("style", "") for use in clipped)


@pytest.mark.parametrize("count", [1, 8, 16, 50])
def test_points_that_no_line_joins_have_a_marker_each(count: int) -> None:
    marks = Line("marks", tuple(Point(x, x % 7, x % 7, x % 7) for x in range(count)), Style(0), "mark")
    assert markers(draw(chart(marks, x=Axis("across")), "words")) == count


def test_long_lines_are_marked_here_and_there() -> None:
    joined = Line("joined", tuple(Point(x, x % 7) for x in range(64)), Style(0), "plain")
    assert markers(draw(chart(joined, x=Axis("across")), "words")) == 8


@settings(max_examples=15)
@given(st.lists(st.floats(0.001, 1000), min_size=2, max_size=30, unique=True), st.booleans())
def test_labels_of_values_keep_their_distance_and_name_measured_values(values: list[float], log: bool) -> None:
    svg = draw(chart(line(*((x, 1.0) for x in values)), x=Axis("across", log=log, at_values=True)), "words")
    labels = {
        float(text.get("x", "0")): "".join(text.itertext())
        for text in ET.fromstring(svg).iter(f"{SVG}text")
        if "text-anchor: middle" in text.get("style", "")
    }
    places = sorted(place for place, label in labels.items() if label != "across")
    assert all(second - first > 25 for first, second in itertools.pairwise(places))
    assert set(labels.values()) <= {"across", *(f"{x:.4g}" for x in values), "1k"}
    assert f"{min(values):.4g}" in labels.values()


def test_intervals_are_drawn_from_end_to_end() -> None:
    tall = Line("tall", (Point(1, 50, 0, 100), Point(2, 50, 0, 100)), Style(0))
    svg = draw(Chart(x=Axis("x", at_values=True), y=Axis("y", low=0, high=100), lines=(tall,)), "words")
    heights = []
    for path in ET.fromstring(svg).iter(f"{SVG}path"):
        numbers = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path.get("d", ""))
        if "stroke-width: 1.1" in path.get("style", "") and len(numbers) == 2:
            heights.append(abs(float(numbers[0][1]) - float(numbers[1][1])))
    assert heights == pytest.approx([235 * 0.73] * 2, abs=0.1)


def test_a_legend_shows_each_line_as_it_is_drawn() -> None:
    keys = legend([line((1, 1), number=0), line((1, 1), number=1, dashed=True)])
    assert [key.name for key in keys] == ["line", "line"]
    assert "var(--line-0)" in keys[0].swatch
    assert "stroke-dasharray" in keys[1].swatch
    assert "stroke-dasharray" not in keys[0].swatch
    assert ET.fromstring(keys[0].swatch).get("aria-hidden") == "true"

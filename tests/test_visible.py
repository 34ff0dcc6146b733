from __future__ import annotations

from hypothesis import given, strategies as st

from rcframe.visible import visible


def test_nothing_can_move_the_cursor_or_change_the_colour() -> None:
    assert visible("a\x1b[2Jb\rc\x07") == r"a\x1b[2Jb\rc\x07"


def test_text_stays_as_it_is() -> None:
    assert visible("größer ▁▂▃ 'x' \\ \n second line") == "größer ▁▂▃ 'x' \\ \n second line"


@given(st.text())
def test_what_comes_out_is_printable(text: str) -> None:
    assert visible(text).replace("\n", "").isprintable()

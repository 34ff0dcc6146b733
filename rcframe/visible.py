"""Text from elsewhere that is shown in a terminal."""

from __future__ import annotations


def visible(text: str) -> str:
    """Spell out control characters, with which a name from somebody's file could redraw the terminal."""
    return "".join(sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text)

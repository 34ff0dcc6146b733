"""Choosing what is drawn where there is too much, so that every teacher is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def in_turn(items: Sequence[Item], most: int, teacher: Callable[[Item], str]) -> list[Item]:
    """Choose so many items: the first of each teacher, then the second of each, and so on; they keep their order."""
    seen: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for place, item in enumerate(items):
        turns.append((seen[teacher(item)], place))
        seen[teacher(item)] += 1
    return [items[place] for place in sorted(place for _, place in sorted(turns)[:most])]


def in_words(chosen: Sequence[Item], items: Sequence[Item], what: str) -> str:
    """Say which were chosen, such as `the first 3 of 12 networks`."""
    if all(mine is theirs for mine, theirs in zip(chosen, items, strict=False)):
        return f"the first {len(chosen)} of {len(items)}{what}"
    return f"{len(chosen)} of {len(items)}{what}, the first of each teacher, then the second of each and so on,"

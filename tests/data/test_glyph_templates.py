from __future__ import annotations

import torch

from rcframe.data.glyph_templates import render


def test_templates_hold_each_character_in_the_middle_at_twice_the_resolution() -> None:
    templates = render("0.W|", 32)
    assert templates.ink.shape == (4, 1, 64, 64)
    assert templates.size == 32
    for ink in templates.ink[:, 0]:
        rows, columns = (torch.nonzero(ink.sum(dim=dim)).flatten() for dim in (1, 0))
        for marked in (rows, columns):
            margins = int(marked.min()), 63 - int(marked.max())
            assert abs(margins[0] - margins[1]) <= 1
            assert min(margins) > 0
    assert float(templates.ink.max()) == 1
    assert float(templates.ink.min()) == 0


def test_widths_are_those_of_the_ink_as_shares_of_the_picture() -> None:
    templates = render("W0|", 32)
    for ink, width in zip(templates.ink[:, 0], templates.widths, strict=True):
        columns = torch.nonzero(ink.sum(dim=0)).flatten()
        assert float(width) * 64 == int(columns.max()) - int(columns.min()) + 1
    wide, digit, bar = templates.widths.tolist()
    assert wide > digit > bar


def test_characters_keep_their_relative_sizes() -> None:
    heights = [int((ink.sum(dim=1) > 0).sum()) for ink in render("Oo.", 32).ink[:, 0]]
    assert heights[0] > 1.2 * heights[1] > 2 * heights[2]
    assert 0.55 * 64 < heights[0] < 0.75 * 64


def test_a_character_looks_the_same_whichever_others_are_asked_for() -> None:
    assert torch.equal(render("A", 16).ink[0], render("xyA", 16).ink[2])

from __future__ import annotations

import torch
from hypothesis import given, strategies as st
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from rcframe.data.glyph_images import CONTRAST, Look, contrasting, draw
from rcframe.data.glyph_templates import Templates, render

PLAIN = Look(rotation=0.0, noise=0.0, neighbours=False)
DIGITS = "0123456789"


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def brightness(colours: Tensor) -> Tensor:
    return 0.299 * colours[:, 0] + 0.587 * colours[:, 1] + 0.114 * colours[:, 2]


def ink_of(x: Tensor) -> Tensor:
    """How far each pixel of `x` (N, 3, H, W) is from the colour of the corner, 1 at the farthest; (N, H, W)."""
    pixels = x.float()
    distance: Tensor = (pixels - pixels[:, :, :1, :1]).norm(dim=1)
    return distance / distance.amax(dim=(1, 2), keepdim=True)


def read(x: Tensor, templates: Templates) -> Tensor:
    """Recognise the characters of `x` by sliding every template over the image: an independent reader."""
    patterns = avg_pool2d(templates.ink, 2)
    patterns = patterns - patterns.mean(dim=(2, 3), keepdim=True)
    patterns = patterns / patterns.norm(dim=(2, 3), keepdim=True)
    # The correlation is taken for shifts of up to three pixels, as far as `draw` moves a character.
    return conv2d(ink_of(x).unsqueeze(1), patterns, padding=3).amax(dim=(2, 3)).argmax(dim=1)


colours = st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=4)


@given(colours, colours)
def test_pens_always_stand_out_from_the_paper(papers: list[list[float]], pens: list[list[float]]) -> None:
    count = min(len(papers), len(pens))
    given_paper, given_pen = torch.tensor(papers[:count]), torch.tensor(pens[:count])
    paper, pen = contrasting(given_paper, given_pen)
    assert torch.equal(paper, given_paper)
    assert 0 <= float(pen.min()) <= float(pen.max()) <= 1
    assert bool(((brightness(pen) - brightness(paper)).abs() >= CONTRAST - 1e-4).all())
    enough = (brightness(given_pen) - brightness(paper)).abs() >= CONTRAST + 1e-6
    assert torch.equal(pen[enough], given_pen[enough])


def test_characters_can_be_read_by_matching_their_templates() -> None:
    templates, labels = render(DIGITS, 32), torch.arange(200) % 10
    read_labels = read(draw(templates, labels, PLAIN, source()), templates)
    assert float((read_labels == labels).float().mean()) > 0.85


def test_the_middle_character_is_the_label_when_there_are_neighbours() -> None:
    templates, labels = render(DIGITS, 32), torch.arange(200) % 10
    x = draw(templates, labels, Look(rotation=0.0, noise=0.0, neighbours=True), source())
    patterns = avg_pool2d(templates.ink, 2)[:, 0, :, 8:24]
    # Paper and pen are told apart by the middle of their range, since the corner may hold a neighbour.
    light = brightness(x.float())
    low, high = light.amin(dim=(1, 2), keepdim=True), light.amax(dim=(1, 2), keepdim=True)
    ink = (light - low) / (high - low)
    ink = torch.where(ink.mean(dim=(1, 2), keepdim=True) > 0.5, 1 - ink, ink)
    patterns = patterns - patterns.mean(dim=(1, 2), keepdim=True)
    patterns = patterns / patterns.norm(dim=(1, 2), keepdim=True)
    middle = ink[:, :, 5:27].unsqueeze(1)
    found = conv2d(middle, patterns.unsqueeze(1), padding=(3, 0)).amax(dim=(2, 3)).argmax(dim=1)
    assert float((found == labels).float().mean()) > 0.8


def test_neighbours_reach_the_borders_and_single_characters_do_not() -> None:
    templates, labels = render("23456", 32), torch.arange(100) % 5
    for neighbours, least, most in ((False, 0.0, 0.02), (True, 0.8, 1.0)):
        x = draw(templates, labels, Look(0.0, 0.0, neighbours), source()).float()
        # A column that a character touches is not of one colour.
        varied = (x - x[:, :, :1]).abs().amax(dim=(1, 2)) > 30
        for column in (0, 31):
            assert least <= float(varied[:, column].float().mean()) <= most


def test_neighbours_leave_the_middle_character_free() -> None:
    templates = render("1", 32)
    x = draw(templates, torch.zeros(50, dtype=torch.int64), Look(0.0, 0.0, neighbours=True), source()).float()
    strength = (x - x[:, :, :1]).abs().amax(dim=(1, 2))
    light = strength < 0.5 * strength.amax(dim=1, keepdim=True)
    # Walking from the middle character to either side, a column of little ink comes before the neighbour.
    assert bool(light[:, 6:16].any(dim=1).all())
    assert bool(light[:, 17:27].any(dim=1).all())


def test_without_noise_every_pixel_mixes_paper_and_pen() -> None:
    x = draw(render(DIGITS, 32), torch.arange(20) % 10, PLAIN, source()).float()
    paper = x[:, :, 0, 0].unsqueeze(-1)
    mixed = x.flatten(2) - paper
    direction = mixed.gather(2, mixed.norm(dim=1).argmax(dim=1).view(-1, 1, 1).expand(-1, 3, 1))
    direction = direction / direction.norm(dim=1, keepdim=True)
    beside = mixed - (mixed * direction).sum(dim=1, keepdim=True) * direction
    assert float(beside.abs().max()) < 2


def test_noise_has_the_deviation_asked_for() -> None:
    labels = torch.zeros(300, dtype=torch.int64)
    x = draw(render("1", 32), labels, Look(0.0, 0.1, False), source()).float() / 255
    corner = x[:, :, :5, :5].flatten(2)
    inside = (corner.mean(dim=2) - 0.5).abs() < 0.15  # far from where values are cut off
    assert abs(float(corner.std(dim=2)[inside].square().mean().sqrt()) - 0.1) < 0.003


def direction(ink: Tensor) -> Tensor:
    """The direction (N,) of the strokes in `ink` (N, H, W) from their second moments, in degrees, -90..90."""
    middle = torch.arange(ink.shape[1]) - (ink.shape[1] - 1) / 2
    share = ink / ink.sum(dim=(1, 2), keepdim=True)
    down, right = middle.view(1, -1, 1), middle.view(1, 1, -1)
    down = down - (share * down).sum(dim=(1, 2), keepdim=True)
    right = right - (share * right).sum(dim=(1, 2), keepdim=True)
    across = 2 * (share * right * down).sum(dim=(1, 2))
    along = (share * (right.square() - down.square())).sum(dim=(1, 2))
    return torch.rad2deg(torch.atan2(across, along) / 2)


def test_upright_and_level_strokes_turn_alike_by_the_angles_asked_for() -> None:
    labels = torch.zeros(300, dtype=torch.int64)
    upright, level = (
        direction(ink_of(draw(render(stroke, 32), labels, Look(30.0, 0.0, False), source()))) for stroke in "|_"
    )
    assert -32 < float(level.min()) < -27
    assert 27 < float(level.max()) < 32
    # Two directions that differ by a right angle, whichever way round they are given.
    between = (upright - level) % 180
    assert float((between - 90).abs().max()) < 3


def test_colours_sizes_and_places_vary() -> None:
    x = draw(render("0", 32), torch.zeros(100, dtype=torch.int64), PLAIN, source())
    assert len(torch.unique(x[:, :, 0, 0], dim=0)) > 95
    ink = ink_of(x) > 0.5
    heights = ink.any(dim=2).sum(dim=1)
    assert int(heights.max()) - int(heights.min()) >= 5
    tops = ink.any(dim=2).float().argmax(dim=1)
    assert int(tops.max()) - int(tops.min()) >= 5


def test_the_number_of_threads_changes_no_byte() -> None:
    templates, labels = render(DIGITS, 16), torch.arange(2500) % 10
    before, images = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            images.append(draw(templates, labels, Look(15.0, 0.05, True), source()))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*images)

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor
from torch.nn.functional import pad

from rcframe.data.augment import Part, augment, rotated
from rcframe.errors import RequestError

NAMES = ("flip", "crop", "rotate")


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=source(99))


@given(
    st.lists(st.sampled_from(NAMES), max_size=3),
    st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 20), st.integers(1, 20)),
    st.integers(0, 2**32),
)
def test_the_result_has_the_shape_of_its_input_and_stays_in_the_pixel_range(
    names: list[str], shape: tuple[int, int, int, int], seed: int
) -> None:
    x = noise(*shape).round()
    before = x.clone()
    changed = augment(x, tuple(names), source(seed))
    assert changed.shape == x.shape
    assert changed.dtype == torch.float32
    assert 0 <= float(changed.min()) <= float(changed.max()) <= 1
    assert torch.equal(x, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_generator_fixes_the_changes_and_the_global_one_is_left_alone(name: str) -> None:
    x, before = noise(16, 1, 16, 16), torch.get_rng_state()
    assert torch.equal(augment(x, (name,), source(1)), augment(x, (name,), source(1)))
    assert not torch.equal(augment(x, (name,), source(1)), augment(x, (name,), source(2)))
    assert torch.equal(torch.get_rng_state(), before)


def test_no_names_change_nothing() -> None:
    x = noise(2, 1, 4, 4)
    assert torch.equal(augment(x, (), source()), x)


def test_names_are_applied_in_their_order() -> None:
    x, randomness = noise(8, 1, 16, 16), source(5)
    stepwise = augment(augment(x, ("crop",), randomness), ("flip",), randomness)
    assert torch.equal(augment(x, ("crop", "flip"), source(5)), stepwise)


@given(
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3),
    st.lists(st.integers(0, 9), min_size=1, max_size=4),
    st.integers(0, 9),
)
def test_parts_of_a_batch_are_changed_as_in_the_whole_to_the_bit(names: list[str], sizes: list[int], seed: int) -> None:
    x = noise(sum(sizes), 1, 9, 16)
    whole = augment(x, tuple(names), source(seed))
    begin = 0
    for size in sizes:
        part = Part(begin, begin + size, len(x))
        assert torch.equal(augment(x[begin:][:size], tuple(names), source(seed), part), whole[begin:][:size])
        begin = part.end


def test_a_flip_mirrors_about_half_of_the_images_each_as_a_whole() -> None:
    x = noise(400, 2, 3, 5)
    flipped = augment(x, ("flip",), source())
    mirrored = torch.tensor([torch.equal(after, before.flip(-1)) for before, after in zip(x, flipped, strict=True)])
    kept = torch.tensor([torch.equal(after, before) for before, after in zip(x, flipped, strict=True)])
    assert bool((mirrored ^ kept).all())
    assert 150 < int(mirrored.sum()) < 250


def test_a_crop_is_one_of_the_cuts_of_the_padded_image_and_every_cut_occurs() -> None:
    x = noise(600, 2, 16, 9)
    cropped = augment(x, ("crop",), source())
    # An eighth of 16 rows is 2, of 9 columns 1.
    padded = pad(x, (1, 1, 2, 2))
    places = []
    for index in range(len(x)):
        cuts = {
            (row, column): padded[index, :, row : row + 16, column : column + 9]
            for row in range(5)
            for column in range(3)
        }
        places.append([place for place, cut in cuts.items() if torch.equal(cut, cropped[index])])
    assert all(len(found) == 1 for found in places)
    counts = [sum(found == [place] for found in places) for place in ((r, c) for r in range(5) for c in range(3))]
    assert min(counts) > 15
    assert max(counts) < 80


def test_images_too_small_for_a_shift_stay_as_they_are() -> None:
    x = noise(5, 1, 7, 7)
    assert torch.equal(augment(x, ("crop",), source()), x)


def test_turning_by_right_angles_is_the_turn_of_the_array() -> None:
    x = noise(3, 2, 9, 9)
    turned = rotated(x, torch.tensor([90.0, 180.0, -90.0]))
    for index, quarters in enumerate((1, 2, 3)):
        assert torch.allclose(turned[index], torch.rot90(x[index], quarters, dims=(1, 2)), atol=1e-5)


def test_images_that_are_not_square_turn_without_shear() -> None:
    x = torch.zeros(1, 1, 33, 17)
    x[0, 0, 16, 12] = 1.0  # four pixels to the right of the middle (16, 8)
    turned = rotated(x, torch.tensor([60.0]))[0, 0]
    rows = torch.arange(33.0).view(-1, 1)
    columns = torch.arange(17.0).view(1, -1)
    down = float((turned * rows).sum() / turned.sum()) - 16
    right = float((turned * columns).sum() / turned.sum()) - 8
    assert math.hypot(down, right) == pytest.approx(4, abs=0.2)
    assert math.degrees(math.atan2(-down, right)) == pytest.approx(60, abs=3)


def test_random_turns_stay_within_20_degrees_and_differ_between_images() -> None:
    x = torch.zeros(300, 1, 41, 41)
    x[:, 0, 19:22, 35] = 1.0  # fifteen pixels to the right of the middle
    turned = augment(x, ("rotate",), source())[:, 0]
    middle = torch.arange(41.0) - 20
    down = (turned * middle.view(-1, 1)).sum(dim=(1, 2)) / turned.sum(dim=(1, 2))
    right = (turned * middle.view(1, -1)).sum(dim=(1, 2)) / turned.sum(dim=(1, 2))
    angles = torch.rad2deg(torch.atan2(-down, right))
    assert -21 < float(angles.min()) < -17
    assert 17 < float(angles.max()) < 21
    assert abs(float(angles.mean())) < 3


def test_corners_that_come_from_outside_are_black() -> None:
    turned = rotated(torch.ones(1, 1, 16, 16), torch.tensor([45.0]))[0, 0]
    assert float(turned[0, 0]) == 0
    assert float(turned[8, 8]) == pytest.approx(1)


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(RequestError, match=r"No augmentation `flop`. Did you mean `flip`"):
        augment(noise(1, 1, 2, 2), ("flop",), source())

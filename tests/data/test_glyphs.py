from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from rcframe.data.glyphs import CHARACTERS, Glyphs
from rcframe.data.images import Images, TensorImages
from rcframe.data.pixels import channel_statistics
from rcframe.errors import RequestError
from rcframe.options import build

NOWHERE = Path("nowhere")


def pixels(images: Images | None) -> torch.Tensor:
    assert isinstance(images, TensorImages)
    return images.x


def labels(images: Images | None) -> torch.Tensor:
    assert images is not None
    assert images.labels is not None
    return images.labels


def test_the_characters_are_those_of_printable_ascii_without_the_space() -> None:
    assert sorted(CHARACTERS) == [chr(code) for code in range(33, 127)]


def test_characters_that_look_alike_are_not_both_among_the_first() -> None:
    assert CHARACTERS[:10] == "0123456789"
    for group in ("0oO", "1lI|", "cC", "xX", "zZ2", "sS5", "vV", "wW", "',`"):
        assert sum(character in CHARACTERS[:40] for character in group) <= 1


def test_splits_have_the_sizes_asked_for() -> None:
    dataset = Glyphs(classes=12, size=16, train=30, test=20, extra=25).load(NOWHERE)
    assert pixels(dataset.train).shape == (30, 3, 16, 16)
    assert pixels(dataset.test).shape == (20, 3, 16, 16)
    assert pixels(dataset.extra).shape == (25, 3, 16, 16)
    assert pixels(dataset.train).dtype == torch.uint8
    assert Glyphs(train=2, test=2).load(NOWHERE).extra is None


@given(st.integers(2, 94), st.integers(1, 300))
@settings(max_examples=15, deadline=None)
def test_labels_are_balanced_and_shuffled(classes: int, count: int) -> None:
    dataset = Glyphs(classes=classes, size=8, train=count, test=1).load(NOWHERE)
    counts = torch.bincount(labels(dataset.train), minlength=classes)
    assert len(counts) == classes
    assert int(counts.max()) - int(counts.min()) <= 1
    if count > 20:
        assert not torch.equal(labels(dataset.train), torch.arange(count) % classes)


def test_the_network_is_told_shape_classes_and_statistics() -> None:
    dataset = Glyphs(classes=11, size=16, train=50, test=1).load(NOWHERE)
    info = dataset.info
    assert (info.name, info.shape, info.classes) == ("glyphs", (3, 16, 16), tuple(CHARACTERS[:11]))
    assert info.eps.text == "8/255"
    assert (info.mean, info.std) == channel_statistics(pixels(dataset.train))


def test_a_seed_fixes_every_byte() -> None:
    first, second = (Glyphs(train=40, test=40, extra=40, seed=3).load(NOWHERE) for _ in range(2))
    other = Glyphs(train=40, test=40, extra=40, seed=4).load(NOWHERE)
    for one, same, different in (
        (first.train, second.train, other.train),
        (first.test, second.test, other.test),
        (first.extra, second.extra, other.extra),
    ):
        assert torch.equal(pixels(one), pixels(same))
        assert torch.equal(labels(one), labels(same))
        assert not torch.equal(pixels(one), pixels(different))


def test_the_splits_are_drawn_apart() -> None:
    few = Glyphs(train=20, test=20, extra=20).load(NOWHERE)
    many = Glyphs(train=90, test=20, extra=20).load(NOWHERE)
    assert torch.equal(pixels(few.test), pixels(many.test))
    assert torch.equal(labels(few.test), labels(many.test))
    assert torch.equal(pixels(few.extra), pixels(many.extra))
    assert not torch.equal(pixels(few.train), pixels(few.test))
    assert not torch.equal(pixels(few.extra), pixels(few.test))


def test_images_can_be_as_small_as_8_and_as_large_as_64() -> None:
    for size in (8, 64):
        assert pixels(Glyphs(size=size, train=3, test=1).load(NOWHERE).train).shape == (3, 3, size, size)


def test_every_look_can_be_chosen_in_a_spec_string() -> None:
    given_options = {"rotation": "0", "noise": "0", "neighbours": "true", "classes": "94"}
    asked = build(Glyphs, given_options, "glyphs")
    assert asked == Glyphs(rotation=0.0, noise=0.0, neighbours=True, classes=94)
    plain = Glyphs(train=20, test=1).load(NOWHERE)
    for other in (Glyphs(train=20, test=1, rotation=0.0), Glyphs(train=20, test=1, neighbours=True)):
        assert not torch.equal(pixels(other.load(NOWHERE).train), pixels(plain.train))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes", 1),
        ("classes", 95),
        ("size", 7),
        ("size", 65),
        ("train", 0),
        ("test", 0),
        ("extra", -1),
        ("rotation", -1),
        ("noise", 2),
    ],
)
def test_options_outside_their_range_are_refused(name: str, value: int) -> None:
    with pytest.raises(RequestError, match=f"`{name}`"):
        build(Glyphs, {name: value}, "glyphs")


def test_a_linear_model_on_blurred_ink_learns_the_digits() -> None:
    dataset = Glyphs(train=1500, test=300, size=16).load(NOWHERE)

    def ink(images: Images) -> torch.Tensor:
        x = pixels(images).float() / 255
        distance: torch.Tensor = (x - x[:, :, :1, :1]).norm(dim=1).flatten(1)
        return distance

    x, y = ink(dataset.train), torch.nn.functional.one_hot(labels(dataset.train), 10).float()
    weights = torch.linalg.solve(x.T @ x + 10 * torch.eye(x.shape[1]), x.T @ y)
    found = (ink(dataset.test) @ weights).argmax(dim=1)
    assert float((found == labels(dataset.test)).float().mean()) > 0.6

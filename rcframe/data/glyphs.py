"""Coloured rendered characters: a procedural data set with as many classes, images and pixels as one asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from rcframe.api import DataSource
from rcframe.data.glyph_images import Look, draw
from rcframe.data.glyph_templates import Templates, render
from rcframe.data.images import DataInfo, Dataset, TensorImages
from rcframe.data.pixels import channel_statistics
from rcframe.options import at_least, between, component, option
from rcframe.seeding import generator

#: The printable characters of ASCII: first those that are told apart at a glance, even tilted, then those that look
#: like another one at another size (c and C), place (comma and apostrophe) or angle (l, I and |).
CHARACTERS = "0123456789AEFHJKLMNPRTUYabdefghkmnqrtBDGQ#$%&@?+=*!ijpuy<>/\\{}[]()~^SVWXZC-_\"';:csvwxz`,.|lIoO"


@component
class Glyphs(DataSource):
    """Characters in random colours, sizes, places and angles, with noise; the same images for the same seed."""

    classes: int = option(
        default=10, help="Number of characters, easy to tell apart first.", check=between(2, len(CHARACTERS))
    )
    size: int = option(default=32, help="Side of the images.", check=between(8, 64))
    train: int = option(default=5000, help="Number of training images.", check=at_least(1))
    test: int = option(default=1000, help="Number of test images.", check=at_least(1))
    extra: int = option(default=0, help="Number of further images.", check=at_least(0))
    seed: int = option(default=0, help="What all images are drawn from; a run's own seed does not change them.")
    rotation: float = option(default=15.0, help="Largest angle in degrees, either way.", check=between(0, 180))
    noise: float = option(default=0.05, help="Standard deviation of the pixel noise.", check=between(0, 1))
    neighbours: bool = option(
        default=False, help="Draw random characters on both sides, cut by the border, as in house numbers."
    )

    def load(self, root: Path) -> Dataset:
        """Return freshly drawn images; nothing is read below `root`."""
        templates = render(CHARACTERS[: self.classes], self.size)
        train = self._split("train", self.train, templates)
        info = DataInfo(
            "glyphs", (3, self.size, self.size), tuple(CHARACTERS[: self.classes]), *channel_statistics(train.x)
        )
        test = self._split("test", self.test, templates)
        extra = self._split("extra", self.extra, templates) if self.extra else None
        return Dataset(info, train, test, extra)

    def _split(self, name: Literal["train", "test", "extra"], count: int, templates: Templates) -> TensorImages:
        # A stream of its own for each split: asking for more training images leaves the test images alone.
        randomness = generator(self.seed, "glyphs", name)
        labels = (torch.arange(count) % self.classes)[torch.randperm(count, generator=randomness)]
        look = Look(self.rotation, self.noise, self.neighbours)
        return TensorImages(draw(templates, labels, look, randomness), labels)

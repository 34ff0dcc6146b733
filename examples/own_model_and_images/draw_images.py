"""Draw an image folder that stands for one's own: circles, squares and triangles.

python draw_images.py FOLDER
"""

import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

SIZE = 24


def draw(shape: str, chance: random.Random) -> Image.Image:
    """Return one picture of a shape, in a random place and colour."""
    picture = Image.new("RGB", (SIZE, SIZE), tuple(chance.randrange(90) for _ in range(3)))
    pen = ImageDraw.Draw(picture)
    colour = tuple(chance.randrange(140, 256) for _ in range(3))
    left, top = chance.randrange(2, 8), chance.randrange(2, 8)
    box = (left, top, left + 13, top + 13)
    if shape == "circle":
        pen.ellipse(box, fill=colour)
    elif shape == "square":
        pen.rectangle(box, fill=colour)
    else:
        pen.polygon([(left, top + 13), (left + 13, top + 13), (left + 6, top)], fill=colour)
    return picture


def main(folder: Path) -> None:
    """Write train/SHAPE/ and val/SHAPE/."""
    chance = random.Random(0)
    for split, count in (("train", 80), ("val", 20)):
        for shape in ("circle", "square", "triangle"):
            place = folder / split / shape
            place.mkdir(parents=True)
            for number in range(count):
                draw(shape, chance).save(place / f"{number:03}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

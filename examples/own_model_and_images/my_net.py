"""A network of one's own: any function that returns a module will do."""

from torch import nn


def build(classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """Return a small network for images of `shape` (channels, height, width)."""
    channels, height, width = shape
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * (height // 2) * (width // 2), classes),
    )

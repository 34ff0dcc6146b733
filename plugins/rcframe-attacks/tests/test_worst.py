from __future__ import annotations

import torch
from rcframe_attacks.worst import WorstCase
from torch import Tensor, nn

from rcframe import Access, ModelOracle


class Pixel(nn.Module):
    """Class 0 below a half, class 1 from there on; no number from 2 on."""

    def forward(self, x: Tensor) -> Tensor:
        pixel = x.flatten(1)
        pixel = torch.where(pixel >= 2, torch.nan, pixel)
        return torch.cat([0.5 - pixel, pixel - 0.5], 1)


def images(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1)


def test_what_is_worse_replaces_what_was_there_and_the_broken_are_done() -> None:
    source, y = ModelOracle(Pixel(), Access.LOGITS), torch.zeros(4, dtype=torch.long)
    worst = WorstCase.of(images(0.0, 0.0, 0.0, 0.0))
    worst.note(worst.everywhere(), images(0.1, 0.3, 0.7, 0.2), y, source)
    assert worst.unbroken().tolist() == [0, 1, 3]
    worst.note(torch.tensor([0, 1, 3]), images(0.2, 0.2, 2.0), y[:3], source)
    assert torch.equal(worst.points, images(0.2, 0.3, 0.7, 2.0))
    assert worst.unbroken().tolist() == [0, 1]
    worst.note(worst.everywhere(), images(0.9, 0.9, 0.9, 0.9), y, source)
    assert torch.equal(worst.points, images(0.9, 0.9, 0.7, 2.0))

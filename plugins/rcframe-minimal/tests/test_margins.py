from __future__ import annotations

import torch
from rcframe_minimal.margins import lead, per_image


def test_the_lead_is_that_over_the_largest_other() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.5], [1.0, 4.0, 2.5], [3.0, 3.0, 0.0]])
    assert lead(logits, torch.tensor([1, 2, 0])).tolist() == [1.5, -1.5, 0.0]


def test_one_value_goes_with_each_image() -> None:
    scaled = per_image(torch.tensor([2.0, 3.0]), torch.ones(2, 1, 2, 2)) * torch.ones(2, 1, 2, 2)
    assert scaled.flatten(1).tolist() == [[2.0] * 4, [3.0] * 4]

from __future__ import annotations

import torch
from rcframe_attacks.aims import aims
from torch import Tensor, nn

from rcframe import Access, ModelOracle


class Fixed(nn.Module):
    """Always these logits, whatever is shown."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([[3.0, 1.0, 2.0, 0.0]]).expand(len(x), 4)


X, Y = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 2, 3])


def source() -> ModelOracle:
    return ModelOracle(Fixed(), Access.LOGITS)


def test_without_a_target_nothing_is_asked() -> None:
    asked = source()
    assert aims("none", asked, X, Y, rounds=3) == [None, None, None]
    assert asked.queries.images == 0


def test_all_other_classes_come_most_likely_first() -> None:
    asked = source()
    found = aims("all", asked, X, Y, rounds=2)
    expected = [[2, 0, 0, 0], [1, 2, 1, 2], [3, 3, 3, 1]]
    assert [targets.tolist() for targets in found if targets is not None] == expected * 2
    assert asked.queries.images == 4
    some = aims("all", source(), X, Y, most=2)
    assert [targets.tolist() for targets in some if targets is not None] == expected[:2]


def test_the_least_likely_is_never_the_label() -> None:
    (found,) = aims("least-likely", source(), X, Y)
    assert found is not None
    assert found.tolist() == [3, 3, 3, 1]


def test_random_targets_are_drawn_anew_in_every_round_and_evenly() -> None:
    torch.manual_seed(0)
    y = torch.full((600,), 2)
    first, second = aims("random", source(), torch.rand(600, 1, 2, 2), y, rounds=2)
    assert first is not None
    assert second is not None
    assert not torch.equal(first, second)
    counts = first.bincount(minlength=4)
    assert counts[2] == 0
    assert int(counts[[0, 1, 3]].min()) > 150

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rcframe.evaluation.trust.pieces import in_pieces

X, Y = torch.arange(13.0), torch.arange(13)


class Small:
    """Has memory for so many images."""

    def __init__(self, most: int) -> None:
        self.most, self.sizes = most, list[int]()

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        assert torch.equal(x, y.float())
        self.sizes.append(len(x))
        if len(x) > self.most:
            raise torch.OutOfMemoryError
        return 2 * x


def test_all_at_once_where_they_fit() -> None:
    judge = Small(13)
    assert torch.equal(in_pieces(judge, X, Y), 2 * X)
    assert judge.sizes == [13]


@pytest.mark.parametrize("most", [1, 2, 5, 12])
def test_halves_where_they_do_not_in_the_same_order(most: int) -> None:
    judge = Small(most)
    assert torch.equal(in_pieces(judge, X, Y), 2 * X)
    assert sum(size for size in judge.sizes if size <= most) == len(X)


def test_no_memory_for_one_image_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        in_pieces(Small(0), X, Y)


def test_other_errors_are_not_hidden() -> None:
    def judge(x: Tensor, y: Tensor) -> Tensor:
        judged.append(len(x))
        raise RuntimeError("no")

    judged: list[int] = []
    with pytest.raises(RuntimeError, match="no"):
        in_pieces(judge, X, Y)
    assert judged == [13]

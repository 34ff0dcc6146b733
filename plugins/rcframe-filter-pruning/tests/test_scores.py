from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st
from rcframe_filter_pruning.scores import filter_scores, l1_norms, strongest
from torch import Tensor, nn


def conv_with(weight: list[list[float]]) -> nn.Conv2d:
    """Return a convolution with one input channel whose filters are the given rows."""
    values = torch.tensor(weight).view(len(weight), 1, 1, -1)
    conv = nn.Conv2d(1, len(weight), (1, values.shape[-1]))
    with torch.no_grad():
        conv.weight.copy_(values)
    return conv


def test_scores_are_sums_of_absolute_weights() -> None:
    assert l1_norms(torch.tensor([[[[1.0, -1.0]]], [[[0.5, 0.5]]]])).tolist() == [2, 1]


def test_the_bias_does_not_count() -> None:
    conv = conv_with([[1, 1], [2, 2]])
    nn.init.constant_(conv.get_parameter("bias"), 100)
    assert filter_scores(conv, None, "l1").tolist() == [2, 4]


@pytest.mark.parametrize(("weight", "kept"), [([[1, -1], [0.5, 0.5]], [0]), ([[3, 0, 0, 0], [1, 1, 1, 1.1]], [1])])
def test_neither_signed_sums_nor_euclidean_lengths_rank_the_filters(weight: list[list[float]], kept: list[int]) -> None:
    assert strongest(filter_scores(conv_with(weight), None, "l1"), 0.5).tolist() == kept


def test_folded_scores_are_those_of_the_convolution_with_batch_norm_multiplied_in() -> None:
    conv, norm = conv_with([[1, 1], [2, 2], [3, 3]]), nn.BatchNorm2d(3)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-6.0, 1.0, 0.0]))
        assert norm.running_var is not None
        norm.running_var.copy_(torch.tensor([4.0, 0.25, 1.0]) - norm.eps)
    folded = conv.weight * (norm.weight / (norm.running_var + norm.eps).sqrt()).view(-1, 1, 1, 1)
    assert torch.allclose(filter_scores(conv, norm, "folded"), l1_norms(folded))
    assert filter_scores(conv, norm, "folded").tolist() == pytest.approx([6, 8, 0])
    assert filter_scores(conv, norm, "l1").tolist() == [2, 4, 6]
    assert filter_scores(conv, None, "folded").tolist() == [2, 4, 6]
    assert filter_scores(conv, nn.BatchNorm2d(3, affine=False), "folded").tolist() == pytest.approx([2, 4, 6], rel=1e-4)


def test_largest_is_the_opposite_of_l1() -> None:
    conv = conv_with([[5, 5], [1, 1], [3, 3], [2, 2]])
    assert strongest(filter_scores(conv, None, "l1"), 0.5).tolist() == [0, 2]
    assert strongest(filter_scores(conv, None, "largest"), 0.5).tolist() == [1, 3]


def test_random_scores_ignore_the_weights_and_follow_the_generator() -> None:
    conv = conv_with([[float(i)] for i in range(50)])

    def kept(seed: int) -> list[int]:
        torch.manual_seed(seed)
        chosen: list[int] = strongest(filter_scores(conv, None, "random"), 0.5).tolist()
        return chosen

    assert kept(0) == kept(0) != kept(1)
    assert min(kept(0)) < 25


@given(st.permutations(range(7)), st.floats(0, 1))
def test_kept_indices_are_the_best_in_their_original_order(scores: list[int], ratio: float) -> None:
    kept = strongest(torch.tensor(scores, dtype=torch.float32), ratio).tolist()
    assert kept == sorted(kept)
    assert {scores[i] for i in kept} == set(range(7 - len(kept), 7))


@given(st.integers(1, 600), st.data())
def test_a_ratio_written_as_a_fraction_removes_exactly_that_many(total: int, data: st.DataObject) -> None:
    removed = data.draw(st.integers(0, total - 1))
    assert len(strongest(torch.arange(total).float(), removed / total)) == total - removed


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 8), (0.124, 8), (0.126, 7), (0.5, 4), (0.9, 1), (1.0, 1)])
def test_ratios_round_to_fewer_removed_and_one_always_stays(ratio: float, kept: int) -> None:
    assert len(strongest(torch.rand(8), ratio)) == kept


def test_among_equal_scores_the_first_stay() -> None:
    scores: Tensor = torch.ones(6)
    assert strongest(scores, 0.5).tolist() == [0, 1, 2]

from __future__ import annotations

import math

import torch
from rcframe_output_defences.answers import as_logits, top_alone_in_single, top_raised, top_swapped


def test_the_top_class_stays_ahead_of_what_single_precision_cannot_tell_from_it() -> None:
    values = torch.tensor([[1.0, 1.0 + 1e-12, 0.5], [-3.0, -math.inf, -3.0]], dtype=torch.float64)
    top = torch.tensor([1, 2])
    assert values.float().argmax(dim=1).tolist() == [0, 0], "the test could not tell"
    alone = top_alone_in_single(values, top)
    assert alone.argmax(dim=1).tolist() == [1, 2]
    assert torch.allclose(alone.double(), values, atol=1e-6)
    assert alone.dtype == torch.float32


def test_a_top_class_that_is_alone_keeps_its_value() -> None:
    values = torch.tensor([[0.1, 0.7, -math.inf], [2.0, -math.inf, -math.inf]])
    assert torch.equal(top_alone_in_single(values, torch.tensor([1, 0])), values)


def test_values_are_swapped_between_two_classes_only() -> None:
    values = torch.tensor([[1.0, 5.0, 3.0], [4.0, 2.0, 0.0]])
    assert top_swapped(values, torch.tensor([2, 0])).tolist() == [[1.0, 3.0, 5.0], [4.0, 2.0, 0.0]]


def test_only_a_top_class_that_others_equal_is_raised() -> None:
    values = torch.tensor([[0.3, 0.3, 0.4], [0.3, 0.3, 0.3]])
    assert torch.allclose(
        top_raised(values, torch.tensor([2, 1]), 0.1), torch.tensor([[0.3, 0.3, 0.4], [0.3, 0.4, 0.3]])
    )


def test_the_softmax_of_what_leaves_are_the_probabilities_divided_by_their_sum() -> None:
    p = torch.tensor([[0.5, 0.25, 0.0]], dtype=torch.float64)
    assert as_logits(p).softmax(dim=1).tolist() == [[2 / 3, 1 / 3, 0.0]]

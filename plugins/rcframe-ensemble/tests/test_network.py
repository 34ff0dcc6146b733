from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings, strategies as st
from rcframe_ensemble.network import Average, EnsembleNetwork, mean_logits, mean_probabilities
from torch import Tensor, nn

from rcframe import NotAChain, chain


def outputs(seed: int, members: int = 3) -> Tensor:
    return 3 * torch.randn(members, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


#: Two members, one image: softmax is (3/4, 1/4) and (1/2, 1/2).
TWO = torch.tensor([[[math.log(3), 0]], [[2, 2]]], dtype=torch.float64)


def test_the_mean_of_logits_is_the_one_computed_by_hand() -> None:
    assert mean_logits(TWO).tolist() == [pytest.approx([1 + math.log(3) / 2, 1], abs=1e-12)]


def test_the_mean_of_probabilities_is_the_one_computed_by_hand() -> None:
    assert mean_probabilities(TWO).tolist() == [pytest.approx([math.log(5 / 8), math.log(3 / 8)], abs=1e-12)]


@given(st.integers(0, 1000), st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_the_softmax_of_averaged_probabilities_is_their_average(seed: int, members: int) -> None:
    z = outputs(seed, members)
    assert torch.allclose(mean_probabilities(z).softmax(1), z.softmax(2).mean(0), rtol=1e-10, atol=1e-10)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_one_member_or_equal_members_answer_as_one(seed: int) -> None:
    one = outputs(seed, 1)
    for z in (one, one.repeat(3, 1, 1)):
        assert torch.allclose(mean_logits(z), one[0], rtol=1e-10)
        assert torch.allclose(mean_probabilities(z), one[0].log_softmax(1), rtol=1e-10)


def test_a_member_that_shouts_rules_averaged_logits_and_not_averaged_probabilities() -> None:
    # One is a hundred times as sure of class 0 as two are of class 1.
    z = torch.tensor([[[300.0, 0]], [[0, 3]], [[0, 3]]])
    assert mean_logits(z).argmax() == 0
    assert mean_probabilities(z).argmax() == 1
    assert mean_probabilities(z).isfinite().all()


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_the_network_averages_its_members(average: Average) -> None:
    torch.manual_seed(0)
    members = [nn.Linear(4, 3), nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))]
    x = torch.rand(6, 4, requires_grad=True)
    found = EnsembleNetwork(members, average)(x)
    parts = torch.stack([member(x) for member in members])
    assert torch.equal(found, mean_logits(parts) if average == "logits" else mean_probabilities(parts))
    (gradient,) = torch.autograd.grad(found.sum() if average == "logits" else found[:, 0].sum(), x)
    assert gradient.abs().max() > 0


def test_what_is_averaged_shows_in_the_layers_by_which_work_is_told_apart() -> None:
    assert str(EnsembleNetwork([nn.Identity()], "logits")) != str(EnsembleNetwork([nn.Identity()], "probabilities"))


def test_an_ensemble_is_no_chain_so_that_certifiers_of_chains_refuse_it() -> None:
    with pytest.raises(NotAChain):
        chain(EnsembleNetwork([nn.Linear(4, 3), nn.Linear(4, 3)], "logits"))

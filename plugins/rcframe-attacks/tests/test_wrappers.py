from __future__ import annotations

import pytest
import torch
from rcframe_attacks.wrappers import EOT, Averaged, Transfer
from torch import Tensor, nn

import rcframe as rc
from rcframe import Access, ModelOracle, RequestError
from rcframe.evaluation.crafting import Faults, attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.threat import Threat
from rcframe.testing.toys import trained_network
from rcframe.training.randomness import seeded

Labelled = tuple[Tensor, Tensor]


class Wavering(nn.Module):
    """Adds noise to its logits, also in evaluation mode."""

    def __init__(self, net: nn.Module, std: float) -> None:
        super().__init__()
        self.net, self.std = net, std

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x + self.std * torch.randn_like(x))
        return logits


def test_logits_and_gradients_are_means_over_the_samples(network: nn.Module, images: Labelled) -> None:
    x, model = images[0][:4], Wavering(network, 0.2)
    source = ModelOracle(model, Access.LOGITS | Access.INPUT_GRAD)
    torch.manual_seed(0)
    one = x.clone().requires_grad_(True)
    found = Averaged(source, 3).logits(one)
    (gradient,) = torch.autograd.grad(found.sum(), one)
    torch.manual_seed(0)
    each = [x.clone().requires_grad_(True) for _ in range(3)]
    answers = [model(single) for single in each]
    gradients = [torch.autograd.grad(answer.sum(), single)[0] for answer, single in zip(answers, each, strict=True)]
    assert torch.allclose(found, torch.stack(answers).mean(0), atol=1e-6)
    assert torch.allclose(gradient, torch.stack(gradients).mean(0), atol=1e-6)
    assert source.queries.images == 12


def test_where_only_labels_are_granted_the_most_frequent_counts() -> None:
    class Turns(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return torch.eye(3)[[2 if self.calls % 3 == 0 else 1]].expand(len(x), -1)

    oracle = Averaged(ModelOracle(Turns(), Access.LABEL), 3)
    assert oracle.labels(torch.rand(2, 1, 2, 2)).tolist() == [1, 1]
    assert Averaged(ModelOracle(Turns(), Access.PROBS), 3).probabilities(torch.rand(1, 1, 2, 2)).sum() == pytest.approx(
        1
    )


def test_a_model_that_does_not_waver_is_attacked_as_without(network: nn.Module, images: Labelled) -> None:
    alone, averaged = (rc.attack(spec) for spec in ("pgd:random_start=false", "eot:attack=(pgd:random_start=false)"))
    assert torch.allclose(averaged(network, *images, eps=0.1), alone(network, *images, eps=0.1), atol=1e-6)


def test_the_mean_of_many_answers_breaks_more_of_a_wavering_model(network: nn.Module, images: Labelled) -> None:
    x, y = images
    model = Wavering(network, 0.4)

    def margin(spec: str) -> float:
        with seeded(0):
            moved = rc.attack(spec)(model, x, y, eps=0.06)
        with torch.no_grad():
            logits = network(moved)
        others = logits.scatter(1, y.unsqueeze(1), float("-inf")).amax(1)
        return float((logits.gather(1, y.unsqueeze(1)).squeeze(1) - others).mean())

    step = "fgsm"
    assert margin(f"eot:attack={step},samples=20") < margin(step)


def test_every_sample_is_a_query(network: nn.Module, images: Labelled) -> None:
    queries = Queries()
    attack_batch(EOT(attack="fgsm", samples=7), network, *images, Threat(0.1), queries)
    assert queries.gradient_images == 7 * len(images[0])


def test_transfer_is_the_attack_inside_on_the_other_network(network: nn.Module, images: Labelled) -> None:
    other = trained_network("other")
    transfer = Transfer(attack="pgd:random_start=false,steps=5")
    expected = rc.attack("pgd:random_start=false,steps=5").thorough()(other, *images, eps=0.1)
    queries = Queries()
    found = attack_batch(transfer, network, *images, Threat(0.1), queries, source=other)
    assert torch.equal(found, expected)
    assert queries.gradient_images >= 5 * len(images[0]), "what the source was asked is counted"
    right = (predict(network, found) == images[1]).float().mean()
    white = (predict(network, rc.attack("pgd")(network, *images, eps=0.1)) == images[1]).float().mean()
    assert white <= right


def test_without_a_source_the_library_says_what_is_missing(network: nn.Module, images: Labelled) -> None:
    with pytest.raises(RequestError, match=r"crafted on another network.*pass yours as `source=`"):
        rc.attack("transfer")(network, *images, eps=0.1)


def test_the_nearest_image_of_another_network_is_moved_into_the_threat(network: nn.Module, images: Labelled) -> None:
    pytest.importorskip("rcframe_minimal")
    transfer = Transfer(attack="deepfool")
    assert not transfer.nearest, "how near it is on the source says nothing about the attacked network"
    faults = Faults()
    found = attack_batch(transfer, network, *images, Threat(0.05), source=trained_network("other"), faults=faults)
    assert faults == Faults()
    assert float((found - images[0]).abs().amax()) == pytest.approx(0.05, abs=1e-6)


def test_transfer_around_transfer_is_refused() -> None:
    with pytest.raises(RequestError, match="cannot go around another"):
        Transfer(attack="transfer")


def test_the_source_is_recorded_and_kept_by_the_stronger_attack() -> None:
    transfer = Transfer(source="twin:3", attack="pgd:steps=4")
    assert transfer.surrogate == "twin:3"
    stronger = transfer.stronger()
    assert stronger is None or (isinstance(stronger, Transfer) and stronger.surrogate == "twin:3")
    wrapped = EOT(attack="transfer:source=student")
    assert wrapped.surrogate == "student"

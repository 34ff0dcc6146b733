from __future__ import annotations

import pytest
import torch
from rcframe_minimal.deepfool import DeepFool, rivals_of
from torch import Tensor, nn

from rcframe import ModelOracle, Norm, Queries, Threat
from rcframe.evaluation.crafting import Faults, attack_batch
from rcframe.evaluation.evaluate import predict

Labelled = tuple[Tensor, Tensor]
NORMS: tuple[Norm, ...] = ("linf", "l2")
#: Larger than any distance between two images of the tests.
FAR = {"linf": 1.0, "l2": 100.0}


def linear(weight: list[list[float]], bias: list[float]) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(weight[0]), len(bias))).double()
    with torch.no_grad():
        net.get_parameter("1.weight").copy_(torch.tensor(weight))
        net.get_parameter("1.bias").copy_(torch.tensor(bias))
    return net.eval()


def drawn_linear(classes: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a linear network, images (20, 1, 3, 4) in the middle of the pixel range, and the classes seen in them."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, classes)).double().eval()
    x = 0.4 + 0.2 * torch.rand(20, 1, 3, 4, dtype=torch.float64)
    return net, x, predict(net, x)


def craft(attack: DeepFool, net: nn.Module, x: Tensor, y: Tensor, norm: Norm, queries: Queries | None = None) -> Tensor:
    oracle = ModelOracle(net, DeepFool.access)
    oracle.queries = queries or oracle.queries
    return attack.craft(oracle, x, y, Threat(FAR[norm], norm))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 5])
def test_on_a_linear_network_the_nearest_boundary_is_overshot_by_what_was_asked(norm: Norm, classes: int) -> None:
    net, x, y = drawn_linear(classes)
    found = craft(DeepFool(overshoot=0.05), net, x, y, norm)
    logits, weight = net(x).detach(), net.get_parameter("1.weight").detach()
    for i in range(len(x)):
        ways = []
        for k in range(classes):
            if k != int(y[i]):
                w = weight[k] - weight[y[i]]
                gap = float(logits[i, y[i]] - logits[i, k])
                ways.append(gap / float(w.abs().sum() if norm == "linf" else w.norm()))
        length = float(Threat(1.0, norm).distance(found[i : i + 1], x[i : i + 1]))
        assert length == pytest.approx(1.05 * (min(ways) + 1e-4), abs=1e-7)
    assert bool((predict(net, found) != y).all())


def test_steps_are_those_computed_by_hand() -> None:
    # z_1 - z_0 = 3 a + 4 b - 2.5 is -0.75 at (0.25, 0.25): 0.15 away in l2, along (0.6, 0.8); 3/28 in linf.
    net = linear([[0.0, 0.0], [3.0, 4.0]], [2.5, 0.0])
    x, y = torch.full((1, 1, 1, 2), 0.25, dtype=torch.float64), torch.tensor([0])
    attack = DeepFool(overshoot=0.0)
    expected = torch.tensor([0.25 + 0.6 * 0.1501, 0.25 + 0.8 * 0.1501], dtype=torch.float64)
    assert torch.allclose(craft(attack, net, x, y, "l2").flatten(), expected, atol=1e-8)
    expected = torch.full((2,), 0.25 + 0.75 / 7 + 1e-4, dtype=torch.float64)
    assert torch.allclose(craft(attack, net, x, y, "linf").flatten(), expected, atol=1e-8)


def test_only_the_most_likely_classes_are_considered() -> None:
    # Class 1 is more likely than 2, but its boundary is further away: 0.1 / 0.5 against 0.2 / 2.
    net = linear([[0.0, 0.0], [0.5, 0.0], [0.0, 2.0]], [0.35, 0.0, -0.85])
    x, y = torch.full((1, 1, 1, 2), 0.5, dtype=torch.float64), torch.tensor([0])
    assert [round(v, 2) for v in net(x).flatten().tolist()] == [0.35, 0.25, 0.15]
    near, limited = craft(DeepFool(), net, x, y, "l2"), craft(DeepFool(candidates=2), net, x, y, "l2")
    assert (near - x).flatten().tolist() == pytest.approx([0, 1.02 * 0.1001], abs=1e-6)
    assert (limited - x).flatten().tolist() == pytest.approx([1.02 * 0.2001, 0], abs=1e-6)


def test_rivals_are_the_likeliest_others_in_their_order() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0, 2.0], [9.0, 3.0, 1.0, 2.0]])
    assert rivals_of(logits, torch.tensor([1, 3]), 3).tolist() == [[3, 2], [0, 1]]
    assert rivals_of(logits, torch.tensor([1, 3]), 10).shape == (2, 3)


def test_pixels_stay_in_range_on_the_way(network: nn.Module, images: Labelled) -> None:
    found = craft(DeepFool(overshoot=3.0), network, *images, "l2")
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_is_attacked_the_same_alone_and_in_a_batch(
    norm: Norm, smooth: nn.Module, smooth_images: Labelled
) -> None:
    x, y = smooth_images
    together = craft(DeepFool(), smooth, x, y, norm)
    alone = torch.cat([craft(DeepFool(), smooth, x[i : i + 1], y[i : i + 1], norm) for i in range(len(x))])
    assert torch.allclose(together, alone, atol=1e-12)


class Scaled(nn.Module):
    """A network whose logits are multiplied: as right as before, and more confident."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return self.scale * logits


@pytest.mark.parametrize("norm", NORMS)
def test_confidence_does_not_protect(norm: Norm, network: nn.Module, images: Labelled) -> None:
    plain, sure = (craft(DeepFool(), net, *images, norm) for net in (network, Scaled(network, 1e4)))
    assert torch.allclose(plain, sure, atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_every_image_of_a_trained_network_is_broken_nearby_and_none_counts_as_a_fault(
    norm: Norm, network: nn.Module, images: Labelled
) -> None:
    x, y = images
    faults = Faults()
    near, far = (attack_batch(DeepFool(), network, x, y, Threat(eps, norm), faults=faults) for eps in (0.02, FAR[norm]))
    assert not bool((predict(network, far) == y).any())
    assert bool((predict(network, near) == y).any())
    assert faults == Faults()


def test_misclassified_images_and_those_out_of_reach_come_back_as_they_are(
    smooth: nn.Module, smooth_images: Labelled
) -> None:
    x, y = smooth_images
    wrong = predict(smooth, x) != y
    found = craft(DeepFool(), smooth, x, y, "l2")
    assert 0 < int(wrong.sum()) < len(x)
    assert torch.equal(found[wrong], x[wrong])
    flat = linear([[0.0] * 64] * 2, [2.0, 0.0])
    assert torch.equal(craft(DeepFool(), flat, x, torch.zeros_like(y), "l2"), x)


def test_broken_images_leave_and_queries_are_what_the_steps_need(smooth: nn.Module, smooth_images: Labelled) -> None:
    x, y = smooth_images
    steep = Steep(smooth)
    needed = []
    for i in range(len(x)):
        queries = Queries()
        craft(DeepFool(), steep, x[i : i + 1], y[i : i + 1], "l2", queries)
        steps = queries.gradient_images
        assert queries.images == 1 + 2 * steps  # the image itself; per step a gradient, and where it led
        needed.append(steps)
    assert len(set(needed)) > 2, "all images need equally many steps"
    assert needed[3] == 0, "this one is wrong from the start"
    queries = Queries()
    craft(DeepFool(), steep, x, y, "l2", queries)
    assert queries.gradient_images == sum(needed)
    assert queries.images == len(x) + 2 * sum(needed)


class Steep(nn.Module):
    """A network bent so much that several steps are needed."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return (logits - logits.mean(dim=1, keepdim=True)).mul(4).sinh()


def test_steps_are_no_more_than_allowed_and_the_last_one_counts(smooth: nn.Module, smooth_images: Labelled) -> None:
    x, y = smooth_images
    right = predict(smooth, x) == y
    queries = Queries()
    found = craft(DeepFool(steps=1), Steep(smooth), x, y, "l2", queries)
    assert queries.gradient_images == int(right.sum())
    broken = predict(smooth, found) != y
    assert torch.equal(found[~broken], x[~broken]), "a point that is not misclassified came back"
    linear_net, inner, label = drawn_linear(3)
    one_step = craft(DeepFool(steps=1), linear_net, inner, label, "l2")
    assert bool((predict(linear_net, one_step) != label).all())


def test_more_effort_is_more_steps_and_candidates() -> None:
    assert DeepFool(steps=3, candidates=4, overshoot=0.1).stronger() == DeepFool(steps=6, candidates=8, overshoot=0.1)

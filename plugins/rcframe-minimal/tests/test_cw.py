from __future__ import annotations

import pytest
import torch
from rcframe_minimal.cw import CW
from rcframe_minimal.margins import lead
from torch import Tensor, nn

import rcframe as rc
from rcframe import ModelOracle, Queries, RequestError, Threat
from rcframe.evaluation.crafting import Faults, attack_batch
from rcframe.evaluation.evaluate import predict

Labelled = tuple[Tensor, Tensor]


def linear_case(classes: int) -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Return a linear network, images (20, 1, 3, 4), the classes seen, and the distances (20,) to the boundary."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, classes)).double().eval()
    x = 0.4 + 0.2 * torch.rand(20, 1, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        logits, weight = net(x), net.get_parameter("1.weight").detach()
    y = logits.argmax(dim=1)
    ways = (logits.gather(1, y.unsqueeze(1)) - logits) / (weight[y].unsqueeze(1) - weight).norm(dim=2)
    return net, x, y, ways.scatter(1, y.unsqueeze(1), float("inf")).amin(dim=1)


def craft(attack: CW, net: nn.Module, x: Tensor, y: Tensor, queries: Queries | None = None) -> Tensor:
    oracle = ModelOracle(net, CW.access)
    oracle.queries = queries or oracle.queries
    return attack.craft(oracle, x, y, Threat(100, "l2"))


def distance(found: Tensor, x: Tensor) -> Tensor:
    return Threat(100, "l2").distance(found, x)


@pytest.mark.parametrize("classes", [2, 5])
def test_on_a_linear_network_the_nearest_boundary_is_reached(classes: int) -> None:
    net, x, y, optimum = linear_case(classes)
    found = craft(CW(steps=300, searches=9, lr=0.01), net, x, y)
    assert bool((predict(net, found) != y).all())
    ratio = distance(found, x) / optimum
    assert float(ratio.min()) >= 1
    # With several classes a descent may end at the boundary of one that is not the nearest.
    assert float((ratio <= 1.005).double().mean()) >= (0.8 if classes > 2 else 1)
    assert float((distance(craft(CW(), net, x, y), x) / optimum).median()) <= 1.1


def test_the_best_weighed_sum_is_reached_where_it_is_known() -> None:
    # One pixel, z_1 - z_0 = 2 (pixel - 0.6): with c below 0.2 the minimum of (p - 0.5)^2 + 2 c (0.6 - p) lies before
    # the boundary, at p = 0.5 + c; with more, at the boundary.
    net = nn.Sequential(nn.Flatten(), nn.Linear(1, 2)).double().eval()
    with torch.no_grad():
        net.get_parameter("1.weight").copy_(torch.tensor([[0.0], [2.0]]))
        net.get_parameter("1.bias").copy_(torch.tensor([1.2, 0.0]))
    x, y = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.tensor([0])
    for c, breaks in ((0.05, False), (0.09, False), (0.11, True), (0.5, True)):
        found = craft(CW(steps=200, searches=1, lr=0.006, initial_c=c, abort_early=False), net, x, y)
        assert bool(found > 0.6) is breaks, c
        assert torch.equal(found, x) is not breaks


def test_c_grows_until_it_breaks_an_image_and_shrinks_until_it_does_not() -> None:
    # In the case above a c of 0.1 decides: 0.004 fails, 0.04 fails, 0.4 works, then the mean 0.22 works, 0.13 works.
    net = Recording(nn.Sequential(nn.Flatten(), nn.Linear(1, 2)).double().eval())
    with torch.no_grad():
        net.get_parameter("net.1.weight").copy_(torch.tensor([[0.0], [2.0]]))
        net.get_parameter("net.1.bias").copy_(torch.tensor([1.2, 0.0]))
    x, y = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64), torch.tensor([0])

    def broke(first: float, searches: int) -> list[bool]:
        net.seen.clear()
        craft(CW(steps=150, searches=searches, lr=0.006, initial_c=first, abort_early=False), net, x, y)
        pixels = torch.cat(net.seen[1:]).view(searches, 150)
        return [bool(row.max() > 0.6) for row in pixels]

    assert broke(0.004, 5) == [False, False, True, True, True]
    # 4 works, 0.4 works, 0.04 fails, the mean 0.22 works, the mean 0.13 works, and 0.085 fails.
    assert broke(4.0, 6) == [True, True, False, True, True, False]


class Recording(nn.Module):
    """Remembers what it was asked."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        logits: Tensor = self.net(x)
        return logits


def test_of_all_misclassified_points_met_the_nearest_is_returned(smooth: nn.Module, smooth_images: Labelled) -> None:
    x, y = smooth_images
    net = Recording(smooth)
    for i in range(4):
        net.seen.clear()
        found = craft(CW(steps=40, searches=4), net, x[i : i + 1], y[i : i + 1])
        met = torch.cat(net.seen)
        wrong = met[predict(smooth, met) != y[i]]
        best = wrong[distance(wrong, x[i : i + 1]).argmin()] if len(wrong) else x[i]
        assert torch.equal(found[0], best)


def test_another_logit_leads_by_kappa(smooth: nn.Module, smooth_images: Labelled) -> None:
    x, y = smooth_images
    right = predict(smooth, x) == y
    found = craft(CW(kappa=0.1), smooth, x[right], y[right])
    with torch.no_grad():
        leads = lead(smooth(found), y[right])
    assert bool((leads <= -0.1).all())
    assert float(leads.max()) >= -0.15
    assert float(distance(found, x[right]).mean()) > float(
        distance(craft(CW(), smooth, x[right], y[right]), x[right]).mean()
    )


def test_an_image_is_attacked_the_same_alone_and_in_a_batch(smooth: nn.Module, smooth_images: Labelled) -> None:
    x, y = smooth_images
    attack = CW(steps=40, searches=4)
    together = craft(attack, smooth, x, y)
    alone = torch.cat([craft(attack, smooth, x[i : i + 1], y[i : i + 1]) for i in range(len(x))])
    assert torch.allclose(together, alone, atol=1e-9)


def test_every_image_of_a_trained_network_is_broken_and_none_counts_as_a_fault(
    network: nn.Module, images: Labelled
) -> None:
    x, y = images
    faults = Faults()
    far = attack_batch(CW(), network, x, y, Threat(100, "l2"), faults=faults)
    near = attack_batch(CW(), network, x, y, Threat(0.1, "l2"), faults=faults)
    assert not bool((predict(network, far) == y).any())
    assert bool((predict(network, near) == y).all())
    assert faults == Faults()
    assert float(distance(near, x).max()) <= 0.1 + 1e-6


class Scaled(nn.Module):
    """A network whose logits are multiplied: as right as before, and more confident."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return self.scale * logits


@pytest.mark.parametrize("scale", [1e-2, 1e4])
def test_confidence_does_not_protect(scale: float, network: nn.Module, images: Labelled) -> None:
    x, y = images[0][:9], images[1][:9]
    plain, sure = craft(CW(), network, x, y), craft(CW(), Scaled(network, scale), x, y)
    assert not bool((predict(network, sure) == y).any())
    assert float(distance(sure, x).median()) <= 1.05 * float(distance(plain, x).median())


def test_queries_are_one_for_each_step_of_each_c_and_one_to_see_what_is_right(
    smooth: nn.Module, smooth_images: Labelled
) -> None:
    x, y = smooth_images
    right = int((predict(smooth, x) == y).sum())
    queries = Queries()
    found = craft(CW(steps=7, searches=3, abort_early=False), smooth, x, y, queries)
    assert queries.gradient_images == 7 * 3 * right
    assert queries.images == 7 * 3 * right + len(x)
    assert torch.equal(found[3::4], x[3::4]), "what is wrong already comes back as it is"


def test_images_that_gain_nothing_leave_and_little_is_lost(network: nn.Module, images: Labelled) -> None:
    x, y = images
    short, long = Queries(), Queries()
    early = craft(CW(), network, x, y, short)
    late = craft(CW(abort_early=False), network, x, y, long)
    assert short.images < 0.85 * long.images
    assert float(distance(early, x).median()) <= 1.03 * float(distance(late, x).median())


def test_a_network_that_never_errs_is_left_after_a_few_looks(images: Labelled) -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with torch.no_grad():
        flat.get_parameter("1.weight").zero_()
        flat.get_parameter("1.bias").copy_(torch.tensor([2.0, 0.0]))
    x, queries = images[0], Queries()
    assert torch.equal(craft(CW(), flat, x, torch.zeros(len(x), dtype=torch.long), queries), x)
    # Ten steps to have a loss, ten more that gain nothing, for each of six c.
    assert queries.gradient_images == 6 * 20 * len(x)


def test_nothing_is_drawn(smooth: nn.Module, smooth_images: Labelled) -> None:
    before = torch.get_rng_state()
    craft(CW(steps=5), smooth, *smooth_images)
    assert torch.equal(torch.get_rng_state(), before)


def test_only_l2_is_offered(network: nn.Module, images: Labelled) -> None:
    with pytest.raises(RequestError, match="works in l2, not in linf"):
        rc.attack("cw")(network, *images, eps=0.1)


def test_more_effort_is_more_steps_and_more_c() -> None:
    assert CW(steps=10, searches=5, kappa=1.0).stronger() == CW(steps=20, searches=8, kappa=1.0)

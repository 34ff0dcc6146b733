from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from rcframe_blackbox.hopskipjump import HopSkipJump, Walk, tolerance
from rcframe_blackbox.labels import noisy_start
from torch import Tensor, nn

from rcframe import Access, ModelOracle, Norm, Queries, Threat
from rcframe.evaluation.crafting import Faults, attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.training.randomness import seeded

Labelled = tuple[Tensor, Tensor]
NORMS: tuple[Norm, ...] = ("linf", "l2")
FAR = {"linf": 1.0, "l2": 100.0}


def linear_case(classes: int) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a linear network, images (12, 1, 3, 4) in the middle of the pixel range, and the classes seen."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, classes)).double().eval()
    x = 0.4 + 0.2 * torch.rand(12, 1, 3, 4, dtype=torch.float64)
    return net, x, predict(net, x)


def optimum(net: nn.Module, x: Tensor, y: Tensor, norm: Norm) -> Tensor:
    """Return the distances (B,) to the nearest boundary of a linear network."""
    with torch.no_grad():
        logits, weight = net(x), net.get_parameter("1.weight").detach()
    normals = weight[y].unsqueeze(1) - weight
    lengths = normals.abs().sum(dim=2) if norm == "linf" else normals.norm(dim=2)
    ways = (logits.gather(1, y.unsqueeze(1)) - logits) / lengths
    nearest: Tensor = ways.scatter(1, y.unsqueeze(1), float("inf")).amin(dim=1)
    return nearest


def craft(
    attack: HopSkipJump, net: nn.Module, x: Tensor, y: Tensor, norm: Norm = "l2", queries: Queries | None = None
) -> Tensor:
    oracle = ModelOracle(net, HopSkipJump.access)
    oracle.queries = queries or oracle.queries
    with seeded(0):
        return attack.craft(oracle, x, y, Threat(FAR[norm], norm))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("classes", [2, 4])
def test_on_a_linear_network_the_nearest_boundary_is_approached(norm: Norm, classes: int) -> None:
    net, x, y = linear_case(classes)
    found = craft(HopSkipJump(queries=4000), net, x, y, norm)
    ratio = Threat(1.0, norm).distance(found, x) / optimum(net, x, y, norm)
    assert bool((predict(net, found) != y).all())
    assert float(ratio.min()) >= 1
    assert float(ratio.median()) <= (1.1 if norm == "linf" else 1.015)
    few = craft(HopSkipJump(queries=400), net, x, y, norm)
    assert float(Threat(1.0, norm).distance(few, x).mean()) > float(Threat(1.0, norm).distance(found, x).mean())


def test_the_nearest_point_met_is_returned_not_the_last() -> None:
    net, x, y = linear_case(2)
    # With two labels per estimate many turns lead away.
    for i in range(4):
        ways = [
            float(Threat(1.0, "l2").distance(craft(attack, net, x[i : i + 1], y[i : i + 1]), x[i : i + 1]))
            for attack in (HopSkipJump(evaluations=2, queries=queries) for queries in range(50, 400, 25))
        ]
        assert ways == sorted(ways, reverse=True)


@given(st.integers(1, 700), st.integers(2, 150), st.integers(1, 30), st.sampled_from(NORMS))
@settings(max_examples=40, deadline=None)
def test_no_image_is_asked_about_more_often_than_allowed(
    queries: int, evaluations: int, tries: int, norm: Norm
) -> None:
    net, x, y = linear_case(2)
    attack = HopSkipJump(queries=queries, evaluations=evaluations, tries=tries)
    for i in range(3):
        asked = Queries()
        craft(attack, net, x[i : i + 1], y[i : i + 1], norm, asked)
        assert asked.images <= queries


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_allowed_is_used_up_to_less_than_a_turn(norm: Norm) -> None:
    net, x, y = linear_case(2)
    queries = Queries()
    craft(HopSkipJump(queries=1000), net, x[:1], y[:1], norm, queries)
    # The fifth turn would take 223 for the estimate.
    assert 1000 - 250 <= queries.images <= 1000


class Constant(nn.Module):
    """Sees class 0 in everything."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([3.0, 1.0, 0.0]).to(x).expand(len(x), 3)


@pytest.mark.parametrize("norm", NORMS)
def test_images_without_a_start_and_wrong_ones_come_back_as_they_are(norm: Norm) -> None:
    x, y = torch.rand(4, 1, 3, 4), torch.tensor([0, 0, 0, 2])
    queries = Queries()
    found = craft(HopSkipJump(tries=7), Constant(), x, y, norm, queries)
    assert torch.equal(found, x)
    assert queries.images == 4 + 3 * 7


@pytest.mark.parametrize(("norm", "search"), [("l2", 6), ("linf", 10 + 8)])
def test_the_first_way_costs_its_bisection(norm: Norm, search: int) -> None:
    # 12 pixels: 12^-1.5 is 0.024, 12^-2 is 0.0069; the first line is searched to 0.001.
    net, x, y = linear_case(2)
    queries, start = Queries(), Queries()
    found = craft(HopSkipJump(queries=110), net, x[:1], y[:1], norm, queries)
    with seeded(0):
        oracle = ModelOracle(net, Access.LABEL)
        oracle.queries = start
        noisy_start(oracle, x[:1], y[:1], 90)
    assert queries.images == 1 + start.images + search
    assert predict(net, found).item() != y[0].item()


def test_ways_are_searched_as_finely_as_the_paper_says_but_no_finer_than_float32() -> None:
    assert tolerance(torch.zeros(2, 1, 4, 4), "l2") == pytest.approx(1 / 64)
    assert tolerance(torch.zeros(2, 1, 4, 4), "linf") == pytest.approx(1 / 256)
    assert tolerance(torch.zeros(2, 3, 64, 64), "linf") == 1e-5


@pytest.mark.parametrize("norm", NORMS)
def test_images_of_a_trained_network_are_broken_and_none_counts_as_a_fault(
    norm: Norm, network: nn.Module, images: Labelled
) -> None:
    x, y = images
    faults = Faults()
    with seeded(0):
        far = attack_batch(HopSkipJump(queries=400), network, x, y, Threat(FAR[norm], norm), faults=faults)
        near = attack_batch(HopSkipJump(queries=400), network, x, y, Threat(0.01, norm), faults=faults)
    assert not bool((predict(network, far) == y).any())
    assert bool((predict(network, near) == y).all())
    assert faults == Faults()
    assert float(Threat(0.01, norm).distance(near, x).max()) <= 0.01 + 1e-6


class Watched(nn.Module):
    """Remembers what it was asked."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x.detach())
        logits: Tensor = self.net(x)
        return logits


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_asked_for_are_images(norm: Norm, network: nn.Module, images: Labelled) -> None:
    watched = Watched(network)
    craft(HopSkipJump(queries=300), watched, *images, norm)
    asked = torch.cat(watched.seen)
    assert 0 <= float(asked.min()) <= float(asked.max()) <= 1


class Hardened(nn.Module):
    """Answers with labels only, as certain as can be, and no gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return 1e4 * nn.functional.one_hot(logits.argmax(dim=1), logits.shape[1]).to(x)


@pytest.mark.parametrize("norm", NORMS)
def test_neither_confidence_nor_flatness_protects(norm: Norm, network: nn.Module, images: Labelled) -> None:
    plain, hard = (craft(HopSkipJump(queries=300), net, *images, norm) for net in (network, Hardened(network)))
    assert torch.equal(plain, hard)


def test_results_follow_the_seed(network: nn.Module, images: Labelled) -> None:
    def attacked(seed: int) -> Tensor:
        with seeded(seed):
            return HopSkipJump(queries=200)(network, *images, eps=5, norm="l2")

    assert torch.equal(attacked(0), attacked(0))
    assert not torch.equal(attacked(0), attacked(1))


def test_labels_are_all_it_sees() -> None:
    assert HopSkipJump.access == Access.LABEL
    assert HopSkipJump.nearest


def test_more_effort_is_twice_the_labels() -> None:
    assert HopSkipJump(queries=300, evaluations=50).stronger() == HopSkipJump(queries=600, evaluations=50)


class Slab(nn.Module):
    """Sees class 1 where the first pixel is between 0.5 and 0.58."""

    def forward(self, x: Tensor) -> Tensor:
        depth = 0.04 - (x.flatten(1)[:, 0] - 0.54).abs()
        return torch.stack([-depth, depth], dim=1)


def test_a_step_is_halved_until_it_ends_where_the_network_errs() -> None:
    x = torch.full((1, 1, 4, 4), 0.2, dtype=torch.float64)
    point = x.clone()
    point[0, 0, 0, 0] = 0.501
    walk = Walk(torch.tensor([0]), x, torch.tensor([0]), point.clone(), torch.tensor([7]))
    source = ModelOracle(Slab(), Access.LABEL)
    with seeded(0):
        HopSkipJump()._hop(source, walk, Threat(1.0, "l2"), turn=2, evaluations=1000)
    # The way is 0.301: over the square root of 2, a half and a quarter of that are 0.213, 0.106 and 0.053.
    assert float((walk.points - point).norm()) == pytest.approx(0.301 / 2**0.5 / 4, rel=1e-6)
    assert source.labels(walk.points).item() == 1
    assert walk.spent.tolist() == [7 + 1000 + 3]

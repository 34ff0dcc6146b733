"""`nes` and `spsa`, which share their loop."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from rcframe_blackbox.nes import NES, RunningMean
from rcframe_blackbox.spsa import SPSA, Adam
from torch import Tensor, nn

from rcframe import Access, Attack, Norm, Queries, Threat
from rcframe.evaluation.crafting import Faults, attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.training.randomness import seeded

Labelled = tuple[Tensor, Tensor]
NORMS: tuple[Norm, ...] = ("linf", "l2")
RADIUS = {"linf": 0.1, "l2": 0.5}


def linear_case() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """Return a linear network, images (20, 1, 3, 4) off the ends of the range, labels, and the slopes (20, 12)."""
    torch.manual_seed(7)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).double()
    x = 0.3 + 0.4 * torch.rand(20, 1, 3, 4, dtype=torch.float64)
    y = torch.arange(20) % 2
    weight = net.get_parameter("1.weight").detach()
    return net, x, y, weight[1 - y] - weight[y]


@pytest.mark.parametrize("attack", [NES(pairs=100, early_stop=False), SPSA(pairs=100, early_stop=False)])
def test_on_a_linear_network_the_linf_optimum_is_all_but_reached(attack: Attack) -> None:
    net, x, y, w = linear_case()
    with seeded(0):
        found = attack(net, x, y, eps=0.1)
    gained = ((found - x).flatten(1) * w).sum(dim=1) / (0.1 * w.abs().sum(dim=1))
    assert float(gained.max()) <= 1 + 1e-6
    assert float(gained.min()) > 0.97


@pytest.mark.parametrize("attack", [NES(pairs=100, early_stop=False), SPSA(pairs=100, early_stop=False)])
def test_on_a_linear_network_the_l2_optimum_is_approached(attack: Attack) -> None:
    net, x, y, w = linear_case()
    with seeded(0):
        found = attack(net, x, y, eps=0.1, norm="l2")
    gained = ((found - x).flatten(1) * w).sum(dim=1) / (0.1 * w.norm(dim=1))
    assert float(gained.max()) <= 1 + 1e-6
    assert float(gained.min()) > (0.97 if isinstance(attack, NES) else 0.75)


@given(st.sampled_from(NORMS), st.floats(0.001, 0.6), st.booleans(), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_results_and_queries_stay_where_they_may(norm: Norm, eps: float, early_stop: bool, seed: int) -> None:
    net, x, y, _ = linear_case()
    watched, threat = Watched(net), Threat(eps, norm)
    x = x.round(decimals=1).clamp(0, 1).where(torch.arange(20).view(20, 1, 1, 1) % 3 > 0, x.round())
    for attack in (NES(steps=3, pairs=2, early_stop=early_stop), SPSA(steps=3, pairs=2, early_stop=early_stop)):
        faults = Faults()
        with seeded(seed):
            found = attack_batch(attack, watched, x, y, threat, faults=faults)
        assert float(threat.distance(found, x).max()) <= eps * (1 + 1e-6)
        assert faults == Faults()
    assert 0 <= watched.low <= watched.high <= 1


class Watched(nn.Module):
    """Remembers the lowest and highest pixel it was asked for."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.low, self.high = net, 1.0, 0.0

    def forward(self, x: Tensor) -> Tensor:
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        logits: Tensor = self.net(x)
        return logits


class Constant(nn.Module):
    """Sees class 0 in everything."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor([2.0, 1.0, 0.0]).to(x).expand(len(x), 3)


@pytest.mark.parametrize(
    ("attack", "each"),
    [
        (NES(steps=7, pairs=3), 7 * (2 * 3 + 1)),
        (NES(steps=7, pairs=3, early_stop=False), 7 * 2 * 3),
        (SPSA(steps=5, pairs=4), 5 * (2 * 4 + 1)),
        (SPSA(steps=5, pairs=4, early_stop=False), 5 * 2 * 4),
        (NES(), 2040),
        (SPSA(), 2600),
    ],
)
def test_queries_are_what_the_readme_says(attack: Attack, each: int) -> None:
    x, y = torch.rand(6, 1, 4, 4), torch.tensor([0, 0, 0, 0, 1, 2])
    queries = Queries()
    attack_batch(attack, Constant(), x, y, Threat(0.1), queries)
    early = attack.thorough() != attack
    assert queries.images == (4 * each + 2 if early else 6 * each)
    assert queries.gradient_images == 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", [NES(steps=15), SPSA(steps=15)])
def test_a_large_radius_leaves_nothing_right(attack: Attack, norm: Norm, network: nn.Module, images: Labelled) -> None:
    x, y = images
    with seeded(0):
        found = attack(network, x, y, eps={"linf": 0.5, "l2": 5.0}[norm], norm=norm)
    assert not bool((predict(network, found) == y).any())


class Scaled(nn.Module):
    """A network whose logits are multiplied: as right as before, and more confident."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return self.scale * logits


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("attack", [NES(steps=5), SPSA(steps=5)])
def test_confidence_does_not_protect(attack: Attack, norm: Norm) -> None:
    net, x, y, _ = linear_case()
    found = []
    for scale in (1.0, 1e4):
        with seeded(0):
            found.append(attack(Scaled(net, scale), x, y, eps=RADIUS[norm], norm=norm))
    assert torch.allclose(found[0], found[1], atol=1e-5)


@pytest.mark.parametrize("attack", [NES(steps=3), SPSA(steps=3)])
def test_results_follow_the_seed(attack: Attack, network: nn.Module, images: Labelled) -> None:
    def attacked(seed: int) -> Tensor:
        with seeded(seed):
            return attack(network, *images, eps=0.05)

    assert torch.equal(attacked(0), attacked(0))
    assert not torch.equal(attacked(0), attacked(1))


@pytest.mark.parametrize("attack", [NES(steps=5), SPSA(steps=5)])
def test_early_stopping_breaks_no_fewer(attack: Attack) -> None:
    net, x, _, _ = linear_case()
    y = predict(net, x)
    broken = []
    for chosen in (attack, attack.thorough()):
        with seeded(0):
            broken.append(int((predict(net, chosen(net, x, y, eps=0.05)) != y).sum()))
    assert broken[0] >= broken[1] - 1
    assert broken[1] > 0


def test_steps_of_nes_are_even_and_follow_the_running_mean() -> None:
    slopes = torch.tensor([[3.0, -4.0], [-1.0, 0.0]]).view(2, 1, 1, 1, 2)
    mean = RunningMean(torch.zeros(1, 1, 1, 2), 0.75, 0.1, "linf")
    assert mean.step(slopes[0]).flatten().tolist() == pytest.approx([0.1, -0.1])
    assert mean.step(slopes[1]).flatten().tolist() == pytest.approx([0.1, -0.1])
    assert mean.mean.flatten().tolist() == pytest.approx([0.3125, -0.75])
    straight = RunningMean(torch.zeros(1, 1, 1, 2), 0.75, 0.1, "l2")
    assert straight.step(slopes[0]).flatten().tolist() == pytest.approx([0.06, -0.08])


def test_the_step_of_nes_is_two_and_a_half_radii_in_all_by_default() -> None:
    net, x, y, _ = linear_case()
    found = []
    for attack in (NES(steps=5), NES(steps=5, step_size=0.05), NES(steps=5, step_size=0.03)):
        with seeded(0):
            found.append(attack(net, x, y, eps=0.1))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("norm", "eps", "lr"), [("linf", 0.015, 0.01), ("linf", 0.5, 0.25), ("l2", 0.05, 0.01), ("l2", 12**0.5, 0.5)]
)
def test_the_step_of_spsa_is_the_papers_unless_the_ball_is_large(norm: Norm, eps: float, lr: float) -> None:
    net, x, y, _ = linear_case()
    found = []
    for attack in (SPSA(steps=10), SPSA(steps=10, lr=lr), SPSA(steps=10, lr=1.3 * lr)):
        with seeded(0):
            found.append(attack(net, x, y, eps=eps, norm=norm))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_steps_of_spsa_are_those_of_adam_upwards_for_images_that_stay() -> None:
    torch.manual_seed(0)
    slopes = torch.randn(6, 3, 1, 2, 2, dtype=torch.float64)
    parameter = torch.zeros(3, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([parameter], lr=0.03, maximize=True)
    adam, reached = Adam(torch.zeros_like(parameter), torch.zeros_like(parameter), 0.03), torch.zeros_like(parameter)
    kept = torch.tensor([True, False, True])
    for step, slope in enumerate(slopes):
        parameter.grad = slope.clone()
        optimizer.step()
        reached = reached + adam.step(slope if step < 3 else slope[kept])
        if step == 2:
            assert torch.allclose(reached, parameter, atol=1e-12)
            adam.keep(kept)
            reached = reached[kept]
    assert torch.allclose(reached, parameter[kept], atol=1e-12)


@pytest.mark.parametrize("attack", [NES(steps=3, pairs=4, sigma=0.01), SPSA(steps=3, pairs=4, delta=0.02)])
def test_more_effort_is_more_neighbours_and_thoroughness_takes_every_step(attack: Attack) -> None:
    stronger, thorough = attack.stronger(), attack.thorough()
    assert isinstance(attack, NES | SPSA)
    assert isinstance(stronger, NES | SPSA)
    assert isinstance(thorough, NES | SPSA)
    assert (stronger.pairs, stronger.steps, stronger.early_stop) == (8, 3, True)
    assert (thorough.pairs, thorough.steps, thorough.early_stop) == (4, 3, False)


def test_scores_are_all_they_see() -> None:
    assert NES.access == SPSA.access == Access.LOGITS
    assert not NES.nearest
    assert NES.iterated

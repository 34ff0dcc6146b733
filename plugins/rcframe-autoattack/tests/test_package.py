from __future__ import annotations

import pytest
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from rcframe_autoattack.package import Package, _TargetedAPGD, own_seed
from torch import Tensor, nn

from rcframe import Access, ModelOracle, RequestError, Threat
from rcframe.api import Norm
from rcframe.evaluation.evaluate import predict

Labelled = tuple[Tensor, Tensor]
NORMS: tuple[Norm, ...] = ("linf", "l2")
EPS: dict[Norm, float] = {"linf": 0.12, "l2": 0.8}
THEIRS: dict[Norm, str] = {"linf": "Linf", "l2": "L2"}


def oracle_of(net: nn.Module) -> ModelOracle:
    return ModelOracle(net.requires_grad_(False), Access.LOGITS | Access.INPUT_GRAD | Access.LABEL)


def wide_network(classes: int) -> nn.Module:
    """A network whose classes all occur: what images have in common does not reach its hidden layer."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, classes)).requires_grad_(False)
    for weight in (net.get_parameter("1.weight"), net.get_parameter("3.weight")):
        weight.sub_(weight.mean(dim=1, keepdim=True))
    return net


def linear_network(classes: int) -> nn.Sequential:
    """A linear network whose classes have gradients of very different length."""
    torch.manual_seed(2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, classes)).requires_grad_(False)
    weight = net.get_parameter("1.weight")
    weight.sub_(weight.mean(dim=1, keepdim=True))
    weight.mul_(torch.linspace(1, 8, classes).unsqueeze(1))
    return net


# --- random numbers --------------------------------------------------------------------------------------------------


def test_whatever_is_reseeded_inside_one_number_is_drawn_outside() -> None:
    torch.manual_seed(3)
    torch.randint(2**31 - 1, (1,))
    expected = torch.rand(4)
    torch.manual_seed(3)
    with own_seed():
        torch.manual_seed(99)
        torch.rand(1000)
    assert torch.equal(torch.rand(4), expected)


def test_seeds_follow_the_generator() -> None:
    def drawn(start: int) -> list[int]:
        torch.manual_seed(start)
        seeds = []
        for _ in range(2):
            with own_seed() as seed:
                seeds.append(seed)
        return seeds

    assert drawn(0) == drawn(0)
    assert len({*drawn(0), *drawn(1)}) == 4


# --- images that are done leave, and nothing else changes ------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_leaving_fallen_images_out_breaks_the_same_ones_with_fewer_gradients(
    norm: Norm, network: nn.Module, images: Labelled
) -> None:
    x, y = images
    oracle, threat = oracle_of(network), Threat(EPS[norm], norm)
    ours = Package(oracle, threat, 5).apgd(x, y, loss="ce", steps=30, restarts=2)
    plain = APGDAttack(network, norm=THEIRS[norm], eps=EPS[norm], n_iter=30, n_restarts=2, loss="ce", seed=5)
    theirs = plain.perturb(x, y)
    broken = predict(network, theirs) != y
    assert 10 < int(broken.sum()) < 50
    assert torch.equal(predict(network, ours) != y, broken)
    moved = (ours != x).flatten(1).any(1)
    assert torch.equal(moved, broken & (predict(network, x) == y))
    assert float(threat.distance(ours, x).max()) <= EPS[norm] * (1 + 1e-5)
    # Every step asks for a gradient of every image that is still right, 31 times at most in each of two tries.
    assert oracle.queries.gradient_images < 0.75 * 31 * (len(x) + int((~broken).sum()))


@pytest.mark.parametrize("norm", NORMS)
def test_the_same_holds_with_targets(norm: Norm, images: Labelled) -> None:
    x = images[0]
    net, eps = wide_network(6), {"linf": 0.05, "l2": 0.3}[norm]
    y = predict(net, x)
    ours = Package(oracle_of(net), Threat(eps, norm), 5).apgd_targeted(x, y, steps=20, targets=5)
    plain = APGDAttack_targeted(net, norm=THEIRS[norm], eps=eps, n_iter=20, n_target_classes=5, seed=5)
    broken = predict(net, plain.perturb(x, y)) != y
    assert 5 < int(broken.sum()) < 55
    assert torch.equal(predict(net, ours) != y, broken)


def test_when_all_have_fallen_the_attack_ends(images: Labelled) -> None:
    x = images[0]
    net = linear_network(4)
    oracle, y = oracle_of(net), predict(net, x)
    Package(oracle, Threat(0.9), 0).apgd(x, y, loss="ce", steps=100, restarts=3)
    assert oracle.queries.calls < 12


def test_without_early_stop_images_end_where_their_loss_was_highest(network: nn.Module, images: Labelled) -> None:
    x, y = images
    package = Package(oracle_of(network), Threat(0.12), 0)
    loss = nn.CrossEntropyLoss(reduction="none")
    driven = loss(network(package.apgd(x, y, loss="ce", steps=40, early_stop=False)), y)
    stopped = loss(network(package.apgd(x, y, loss="ce", steps=40)), y)
    assert bool((driven >= loss(network(x), y)).all())
    assert float(driven.mean()) > 1.5 * float(stopped.mean())


def test_several_draws_ask_for_that_many_gradients(network: nn.Module, images: Labelled) -> None:
    x, y = images[0][:4], images[1][:4]
    counts = []
    for draws in (1, 3):
        oracle = oracle_of(network)
        Package(oracle, Threat(0.001), 0).apgd(x, y, loss="ce", steps=5, draws=draws)
        counts.append(oracle.queries.gradient_images)
    assert counts == [4 * 6, 3 * 4 * 6]


def test_an_answer_that_is_wrong_by_chance_does_not_end_an_attack_on_a_random_model(images: Labelled) -> None:
    x = images[0][:4]
    net = linear_network(4)
    oracle = oracle_of(net)
    Package(oracle, Threat(0.9), 0).apgd(x, predict(net, x), loss="ce", steps=5, draws=3)
    assert oracle.queries.gradient_images == 3 * 4 * 6


# --- losses for few classes ------------------------------------------------------------------------------------------


def targeted_loss(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    attack = _TargetedAPGD(lambda x: x, eps=0.1)
    attack.y_target = target
    loss: Tensor = attack.dlr_loss_targeted(logits, y)
    return loss


def test_the_targeted_loss_is_the_published_one_from_four_classes_on() -> None:
    z = torch.tensor([[4.0, 3.0, 2.0, 0.0, -5.0]])
    # -(z_y - z_t) / (z_1 - (z_3 + z_4) / 2), the index being the rank.
    assert float(targeted_loss(z, torch.tensor([0]), torch.tensor([2]))) == pytest.approx(-(4 - 2) / (4 - (2 + 0) / 2))


def test_with_three_classes_the_targeted_loss_is_scaled_as_the_untargeted_is() -> None:
    z = torch.tensor([[4.0, 3.0, 2.0], [40.0, 30.0, 20.0]])
    y, target = torch.tensor([0, 0]), torch.tensor([1, 1])
    assert targeted_loss(z, y, target).tolist() == pytest.approx([-(4 - 3) / (4 - 2)] * 2)


def test_with_two_classes_losses_are_differences() -> None:
    z = torch.tensor([[4.0, 3.0], [1.0, 3.0]])
    y, target = torch.tensor([0, 0]), torch.tensor([1, 1])
    assert targeted_loss(z, y, target).tolist() == [-1.0, 2.0]
    assert _TargetedAPGD(lambda x: x, eps=0.1).dlr_loss(z, y).tolist() == [-1.0, 2.0]


# --- the nearest image -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_on_a_linear_network_fab_finds_the_nearest_of_all_boundaries(norm: Norm) -> None:
    net = linear_network(5)
    x = 0.4 + 0.2 * torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = predict(net, x)
    z, weight = net(x), net.get_parameter("1.weight")
    gaps, slopes = z.gather(1, y.unsqueeze(1)) - z, weight[y].unsqueeze(1) - weight
    sizes = slopes.abs().sum(2) if norm == "linf" else slopes.norm(dim=2)
    every = (gaps / sizes.clamp_min(1e-9)).scatter(1, y.unsqueeze(1), float("inf"))
    closest = every.amin(1)
    likeliest = every.gather(1, z.argsort(dim=1, descending=True)[:, 1:2]).squeeze(1)
    assert bool((likeliest > 1.1 * closest).any()), "the likeliest class is the nearest for every image"
    found = Package(oracle_of(net), Threat(1e-3, norm), 0).nearest_fab_targeted(x, y, steps=20, targets=4)
    assert bool((predict(net, found) != y).all())
    distance = Threat(1, norm).distance(found, x)
    assert bool((distance >= closest * 0.999).all())
    assert bool((distance <= closest * 1.1).all())


def test_images_that_are_wrong_already_come_back_as_they_are(network: nn.Module, images: Labelled) -> None:
    x, y = images[0], (images[1] + 1) % 3
    wrong = predict(network, x) != y
    package = Package(oracle_of(network), Threat(0.2), 0)
    for found in (
        package.nearest_fab_targeted(x, y, steps=3, targets=2),
        package.apgd(x, y, loss="ce", steps=3),
        package.square(x, y, queries=3),
    ):
        assert torch.equal(found[wrong], x[wrong])


# --- squares ---------------------------------------------------------------------------------------------------------


def test_squares_in_l2_need_room_for_the_grid_they_start_from() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).requires_grad_(False)
    x, y = torch.rand(2, 1, 4, 4), torch.tensor([0, 1])
    with pytest.raises(RequestError, match=r"the images have 4 x 4 pixels: use norm linf"):
        Package(oracle_of(net), Threat(0.5, "l2"), 0).square(x, y, queries=5)
    Package(oracle_of(net), Threat(0.5), 0).square(x, y, queries=5)

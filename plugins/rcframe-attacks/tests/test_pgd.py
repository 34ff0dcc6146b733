from __future__ import annotations

import copy
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_attacks.bim import BIM
from rcframe_attacks.fgsm import FGSM
from rcframe_attacks.mim import MIM
from rcframe_attacks.objective import Loss, confusion
from rcframe_attacks.pgd import PGD
from torch import Tensor, nn

import rcframe as rc
from rcframe import Attack, ModelOracle, Threat
from rcframe.api import Norm
from rcframe.data.digits import Digits
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.oracle import Queries
from rcframe.testing.toys import fingerprint
from rcframe.training.randomness import seeded

Labelled = tuple[Tensor, Tensor]
NORMS: tuple[Norm, ...] = ("linf", "l2")


def linear_net(classes: int = 2) -> nn.Sequential:
    torch.manual_seed(7)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, classes)).double()


def linear_case() -> tuple[nn.Sequential, Tensor, Tensor, Tensor]:
    """Return a two-class linear network, images, labels and for every image the gradient (B, 12) of its margin."""
    net = linear_net()
    x = torch.rand(20, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = torch.arange(20) % 2
    weight = net.get_parameter("1.weight").detach()
    return net, x, y, weight[y] - weight[1 - y]


def margin(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    with torch.no_grad():
        return -confusion(net(x), y)


def accuracy(attack: Attack, net: nn.Module, images: Labelled, eps: float, norm: Norm = "linf") -> float:
    x, y = images
    with seeded(0):
        return float((predict(net, attack(net, x, y, eps=eps, norm=norm)) == y).float().mean())


# --- what is known in closed form ------------------------------------------------------------------------------------


@pytest.mark.parametrize("random_start", [False, True])
def test_on_a_linear_network_the_linf_optimum_is_reached(random_start: bool) -> None:
    net, x, y, w = linear_case()
    inner = 0.2 + 0.6 * x
    found = PGD(random_start=random_start, early_stop=False)(net, inner, y, eps=0.15)
    assert torch.allclose(margin(net, found, y), margin(net, inner, y) - 0.15 * w.abs().sum(1), atol=1e-10)


def test_on_a_linear_network_the_linf_optimum_within_the_pixel_range_is_reached() -> None:
    net, x, y, w = linear_case()
    found = PGD(early_stop=False)(net, x, y, eps=0.4)
    assert torch.allclose(found, (x - 0.4 * w.sign().view_as(x)).clamp(0, 1), atol=1e-12)


def test_on_a_linear_network_the_l2_optimum_is_reached() -> None:
    net, x, y, w = linear_case()
    inner = 0.2 + 0.6 * x
    found = PGD(random_start=False, early_stop=False)(net, inner, y, eps=0.15, norm="l2")
    assert torch.allclose(found, inner - 0.15 * (w / w.norm(dim=1, keepdim=True)).view_as(x), atol=1e-10)
    assert torch.allclose(margin(net, found, y), margin(net, inner, y) - 0.15 * w.norm(dim=1), atol=1e-10)


@pytest.mark.parametrize(("norm", "length"), [("linf", 0.03), ("l2", 0.03)])
def test_a_step_has_the_length_that_was_asked_for(norm: Norm, length: float) -> None:
    net, x, y, _ = linear_case()
    inner = 0.2 + 0.6 * x
    attack = PGD(steps=3, step_size=0.01, random_start=False, early_stop=False)
    found = attack(net, inner, y, eps=0.15, norm=norm)
    assert torch.allclose(Threat(0.15, norm).distance(found, inner), torch.tensor(length).double(), atol=1e-7)


def test_the_step_is_in_pixels_and_two_and_a_half_radii_in_all_by_default(network: nn.Module, images: Labelled) -> None:
    default = PGD(steps=5, random_start=False)(network, *images, eps=0.1)
    assert torch.equal(default, PGD(steps=5, step_size=0.05, random_start=False)(network, *images, eps=0.1))
    assert not torch.equal(default, PGD(steps=5, step_size=0.04, random_start=False)(network, *images, eps=0.1))
    spelled = rc.attack("pgd:steps=5,step_size=12.75/255,random_start=false")(network, *images, eps=0.1)
    assert torch.allclose(default, spelled, atol=1e-6)


# --- what every call promises ----------------------------------------------------------------------------------------


@given(
    st.floats(0.001, 0.6),
    st.sampled_from(NORMS),
    st.integers(1, 3),
    st.integers(1, 2),
    st.floats(0.001, 1),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_results_stay_in_the_ball_and_the_pixel_range(
    eps: float, norm: Norm, steps: int, restarts: int, step_size: float, random_start: bool
) -> None:
    net, x, y, _ = linear_case()
    x = x.float().round(decimals=1)
    net, before = copy.deepcopy(net).float(), x.clone()
    attack = PGD(steps=steps, restarts=restarts, step_size=step_size, random_start=random_start)
    found = attack(net, x, y, eps=eps, norm=norm)
    assert float(Threat(eps, norm).distance(found, x).max()) <= eps * (1 + 1e-5) + 1e-6
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert found.dtype == torch.float32
    assert torch.equal(x, before)


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_is_attacked_the_same_alone_and_in_a_batch(norm: Norm, smooth: nn.Module) -> None:
    x = torch.rand(5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([0, 1, 2, 0, 1])
    attack = PGD(random_start=False, restarts=2)
    together = attack(smooth, x, y, eps=0.2, norm=norm)
    alone = torch.cat([attack(smooth, x[i : i + 1], y[i : i + 1], eps=0.2, norm=norm) for i in range(5)])
    assert torch.allclose(together, alone, atol=1e-9)


def test_labels_and_predictions_are_the_same_target_where_the_network_is_right(
    network: nn.Module, images: Labelled
) -> None:
    x, y = images
    mixed = torch.where(torch.arange(len(y)) % 3 == 0, (y + 1) % 3, y)
    right = predict(network, x) == mixed
    assert 0 < int(right.sum()) < len(y)
    attack = PGD(random_start=False)
    by_label, by_prediction = attack(network, x, mixed, eps=0.1), attack(network, x, predict(network, x), eps=0.1)
    assert torch.allclose(by_label[right], by_prediction[right], atol=1e-6)
    assert not torch.allclose(by_label[~right], by_prediction[~right], atol=1e-6)


def test_a_network_in_training_mode_is_attacked_as_it_predicts_and_left_as_it_was(images: Labelled) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    )
    net(images[0])
    evaluated = copy.deepcopy(net).eval()
    before = fingerprint(net)
    attack = PGD(random_start=False, steps=5)
    assert torch.equal(attack(net, *images, eps=0.1), attack(evaluated, *images, eps=0.1))
    assert fingerprint(net) == before
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


@pytest.mark.parametrize("attack", [FGSM(), BIM(), MIM(), PGD(), PGD(restarts=3)])
def test_eps_zero_returns_the_images(attack: Attack, network: nn.Module, images: Labelled) -> None:
    assert torch.equal(attack(network, *images, eps=0), images[0])


def test_whole_numbers_are_no_pixels(network: nn.Module, images: Labelled) -> None:
    x, y = images
    with pytest.raises(rc.RequestError, match=r"pixels must be floats in \[0, 1\]: use x.float\(\) / 255"):
        PGD()(network, (255 * x).to(torch.uint8), y, eps=0.1)


# --- strength --------------------------------------------------------------------------------------------------------


def test_the_loss_of_the_true_label_rises_with_every_small_step(smooth: nn.Module) -> None:
    x = torch.rand(8, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = torch.arange(8) % 3

    def loss_after(steps: int) -> float:
        moved = PGD(steps=steps, step_size=0.002, random_start=False).thorough()(smooth, x, y, eps=0.1) if steps else x
        with torch.no_grad():
            return float(F.cross_entropy(smooth(moved), y))

    losses = [loss_after(steps) for steps in range(8)]
    assert all(before < after for before, after in itertools.pairwise(losses))


@pytest.mark.parametrize("eps", [0.1, 0.15, 0.2])
def test_many_steps_are_at_least_as_strong_as_one_and_one_as_noise(
    eps: float, network: nn.Module, images: Labelled
) -> None:
    x, y = images
    corners = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)).sub(0.5).sign()
    noise = float((predict(network, (x + eps * corners).clamp(0, 1)) == y).float().mean())
    many, one = accuracy(PGD(), network, images, eps), accuracy(FGSM(), network, images, eps)
    assert many <= one <= noise
    assert many < noise


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.5), ("l2", 6.0)])
def test_a_large_radius_leaves_nothing_right(norm: Norm, eps: float, network: nn.Module, images: Labelled) -> None:
    assert accuracy(PGD(), network, images, eps, norm) == 0


class Scaled(nn.Module):
    """A network whose logits are multiplied: as right as before, and more confident."""

    def __init__(self, net: nn.Module, scale: float) -> None:
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return self.scale * logits


def test_confidence_does_not_protect(network: nn.Module, images: Labelled) -> None:
    x, y = images[0].clone().requires_grad_(True), images[1]
    saturated = F.cross_entropy(Scaled(network, 1e4)(x), y, reduction="sum")
    (gradient,) = torch.autograd.grad(saturated, x)
    masked = gradient.flatten(1).abs().amax(1) == 0
    assert masked.float().mean() > 0.9, "cross-entropy itself would see this network"
    for norm, eps in zip(NORMS, (0.12, 1.0), strict=True):
        found = [accuracy(PGD(), Scaled(network, scale), images, eps, norm) for scale in (1, 10, 1e3, 1e4)]
        # The closest wrong class takes over from the others as logits grow, so the attack may even gain.
        assert max(found) <= found[0] + 1.5 / len(y)
        assert found[0] < 0.7


@pytest.mark.parametrize("scale", [10, 1e3, 1e4])
@pytest.mark.parametrize("norm", NORMS)
def test_with_two_classes_scaled_logits_give_the_same_images(norm: Norm, scale: float) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2)).double()
    _, x, y, _ = linear_case()
    with seeded(0):
        expected = PGD(restarts=2)(net, x, y, eps=0.2, norm=norm)
    with seeded(0):
        assert torch.allclose(PGD(restarts=2)(Scaled(net, scale), x, y, eps=0.2, norm=norm), expected, atol=1e-9)


# --- random starts and restarts --------------------------------------------------------------------------------------


def test_random_starts_follow_the_seed(network: nn.Module, images: Labelled) -> None:
    def attacked(seed: int) -> Tensor:
        with seeded(seed):
            return PGD(steps=2)(network, *images, eps=0.1)

    assert torch.equal(attacked(0), attacked(0))
    assert not torch.equal(attacked(0), attacked(1))


def test_without_random_start_nothing_is_drawn(network: nn.Module, images: Labelled) -> None:
    before = torch.get_rng_state()
    PGD(random_start=False, restarts=2)(network, *images, eps=0.1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_random_start_is_moved_into_the_pixel_range_before_the_first_step() -> None:
    net, x, y, _ = linear_case()
    with seeded(0):
        start = Threat(0.3, "linf").random_point(x.round()).clamp(0, 1)
    with seeded(0):
        found = PGD(steps=1, step_size=1e-9)(net, x.round(), y, eps=0.3)
    assert torch.allclose(found, start, atol=1e-8)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.8)])
def test_restarts_keep_the_worst_case_of_every_image(norm: Norm, eps: float, smooth: nn.Module) -> None:
    x = torch.rand(60, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = predict(smooth, x)
    with seeded(0):
        tries = [PGD(steps=1, step_size=0.01, early_stop=False)(smooth, x, y, eps=eps, norm=norm) for _ in range(4)]
    with seeded(0):
        best = PGD(steps=1, step_size=0.01, restarts=4, early_stop=False)(smooth, x, y, eps=eps, norm=norm)
    with torch.no_grad():
        logits = [smooth(tried) for tried in tries]
    broken = torch.stack([z.argmax(1) != y for z in logits])
    confusions = torch.stack([confusion(z, y) for z in logits])
    assert bool((broken.any(0) & ~broken.all(0)).any()), "no image on which tries disagree"
    for i in range(len(x)):
        # Among several misclassifications the first is as good as any.
        expected = broken[:, i].int().argmax() if broken[:, i].any() else confusions[:, i].argmax()
        assert torch.allclose(best[i], tries[int(expected)][i], atol=1e-12)


class Deceptive(nn.Module):
    """Right but torn between three classes where the pixel is dark; wrong without much confusion where bright."""

    def forward(self, x: Tensor) -> Tensor:
        pixel = x.flatten(1)
        dark = torch.cat([pixel * 0 + 0.01, pixel * 0, pixel * 0], 1)
        bright = torch.cat([pixel * 0, pixel * 0 + 0.01, pixel * 0 - 10], 1)
        return torch.where(pixel < 0.5, dark, bright)


def test_a_misclassification_is_kept_before_any_confusion() -> None:
    x, y = torch.full((16, 1, 1, 1), 0.5), torch.zeros(16, dtype=torch.long)
    with seeded(0):
        found = PGD(steps=1, restarts=20)(Deceptive(), x, y, eps=0.3)
    assert bool((found.flatten() >= 0.5).all())


@pytest.mark.parametrize(
    ("attack", "gradients", "forwards"),
    [
        (FGSM(), 1, 0),
        (PGD(steps=7, early_stop=False), 7, 0),
        (PGD(steps=3, restarts=4, early_stop=False), 12, 4),
        # One forward for the order of the classes.
        (PGD(steps=3, target="all", random_start=False, early_stop=False), 6, 3),
    ],
)
def test_queries_are_what_the_method_says(
    attack: Attack, gradients: int, forwards: int, network: nn.Module, images: Labelled
) -> None:
    queries = Queries()
    attack_batch(attack, network, *images, Threat(0.1), queries)
    assert queries.gradient_images == gradients * len(images[0])
    assert queries.images == (gradients + forwards) * len(images[0])


def test_only_what_is_declared_is_asked_for(network: nn.Module, images: Labelled) -> None:
    proposal = PGD(steps=1).craft(ModelOracle(network, PGD.access), *images, Threat(0.1))
    assert proposal.shape == images[0].shape


# --- losses and targets ----------------------------------------------------------------------------------------------

LOSSES: tuple[Loss, ...] = ("ce", "cw", "dlr")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.12), ("l2", 1.0)])
def test_every_loss_breaks_about_as_many_images(
    loss: Loss, norm: Norm, eps: float, network: nn.Module, images: Labelled
) -> None:
    usual, found = (accuracy(PGD(loss=name), network, images, eps, norm) for name in ("ce", loss))
    assert abs(found - usual) <= 0.1
    assert found < 0.7


@pytest.mark.parametrize("scale", [10, 1e3, 1e4])
@pytest.mark.parametrize("loss", ["cw", "dlr"])
def test_confidence_does_not_protect_against_margins(
    loss: Loss, scale: float, network: nn.Module, images: Labelled
) -> None:
    attack = PGD(loss=loss)
    assert accuracy(attack, Scaled(network, scale), images, 0.12) == pytest.approx(
        accuracy(attack, network, images, 0.12), abs=1.5 / len(images[1])
    )


def test_the_ratio_needs_three_classes_and_with_a_target_four(network: nn.Module, images: Labelled) -> None:
    net, x, y, _ = linear_case()
    with pytest.raises(rc.RequestError, match=r"third largest logit, but this model has 2 classes: choose `loss=cw`"):
        PGD(loss="dlr")(net, x, y, eps=0.1)
    with pytest.raises(rc.RequestError, match=r"fourth largest logit when it has a target, .* has 3 classes"):
        PGD(loss="dlr", target="all")(network, *images, eps=0.1)


def test_a_target_draws_images_to_its_class() -> None:
    net = linear_net(5)
    x = 0.3 + 0.4 * torch.rand(20, 1, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    y = predict(net, x)
    order = net(x).argsort(dim=1)
    attack = PGD(target="least-likely", random_start=False, early_stop=False, loss="cw")
    found = attack(net, x, y, eps=0.05)
    weight = net.get_parameter("1.weight").detach()
    uphill = (weight[order[:, 0]] - weight[y]).sign().view_as(x)
    assert torch.allclose(found, x + 0.05 * uphill, atol=1e-12)


def test_a_random_target_is_never_the_label_and_differs_from_image_to_image() -> None:
    net = linear_net(5)
    x = torch.full((40, 1, 3, 4), 0.5, dtype=torch.float64)
    y = predict(net, x)
    with seeded(0):
        found = PGD(target="random", random_start=False, early_stop=False, loss="cw")(net, x, y, eps=0.05)
    weight = net.get_parameter("1.weight").detach()
    corners = torch.stack([(x[0] + 0.05 * (w - weight[y[0]]).sign().view_as(x[0])) for w in weight])
    matches = torch.stack([(found - corner).abs().flatten(1).amax(1) < 1e-12 for corner in corners], 1)
    assert bool(matches.any(1).all())
    assert not matches[:, int(y[0])].any()
    assert matches.any(0).sum() == 4


class Trap(nn.Module):
    """Two pixels in (0, 1): the class that looks likely can never win; the unlikely one wins where both are bright."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x.flatten(1).unbind(1)
        likely = 0.4 - (first + second - 1).relu() * 3
        return torch.stack([torch.full_like(first, 0.5), likely, first + second - 1.2], 1)


def test_all_targets_are_tried_and_what_breaks_is_kept() -> None:
    x, y = torch.full((3, 1, 1, 2), 0.45), torch.zeros(3, dtype=torch.long)
    for attack, broken in [(PGD(target="all", loss="cw"), True), (PGD(target="all", targets=1, loss="cw"), False)]:
        with seeded(0):
            found = attack(Trap(), x, y, eps=0.45)
        assert bool((predict(Trap(), found) != y).all()) is broken


@given(st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_all_targets_leave_no_more_right_than_the_single_ones(seed: int) -> None:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 4)).double()
    x = torch.rand(20, 1, 3, 4, dtype=torch.float64)
    y = predict(net, x)
    every, one = (PGD(target=name, random_start=False) for name in ("all", "least-likely"))
    right = [predict(net, attack(net, x, y, eps=0.1)) == y for attack in (every, one)]
    assert not bool((right[0] & ~right[1]).any())


# --- stopping early --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("restarts", [1, 3])
@pytest.mark.parametrize("norm", NORMS)
def test_stopping_early_breaks_at_least_what_the_last_step_breaks(
    norm: Norm, restarts: int, network: nn.Module, images: Labelled
) -> None:
    attack = PGD(restarts=restarts, random_start=False)
    eps = 0.1 if norm == "linf" else 0.8
    early, late = (
        predict(network, one(network, *images, eps=eps, norm=norm)) != images[1] for one in (attack, attack.thorough())
    )
    assert 0 < int(late.sum()) < len(late)
    assert not bool((late & ~early).any())


def test_an_image_stays_where_it_was_first_misclassified() -> None:
    net, x, y, w = linear_case()
    inner = 0.2 + 0.6 * x
    found = PGD(steps=15, step_size=0.01, random_start=False)(net, inner, y, eps=0.15)
    per_step = 0.01 * w.abs().sum(1)
    needed = (margin(net, inner, y) / per_step).ceil().clamp(0, 15)
    assert len(set(needed.tolist())) > 3
    assert torch.allclose(found, inner - 0.01 * needed.view(-1, 1, 1, 1) * w.sign().view_as(x), atol=1e-10)


def test_broken_images_are_not_asked_about_again() -> None:
    net, x, y, w = linear_case()
    inner = 0.2 + 0.6 * x
    queries = Queries()
    attack_batch(PGD(steps=15, step_size=0.01, random_start=False), net, inner, y, Threat(0.15), queries)
    looks = (margin(net, inner, y) / (0.01 * w.abs().sum(1))).ceil().clamp(0, 15) + 1
    assert queries.gradient_images == int(looks.clamp_max(15).sum())


def test_restarts_go_on_with_unbroken_images_from_the_starts_they_would_have_had_anyway(
    network: nn.Module, images: Labelled
) -> None:
    attack = PGD(steps=4, restarts=3)
    with seeded(0):
        early = predict(network, attack(network, *images, eps=0.1)) != images[1]
    with seeded(0):
        late = predict(network, attack.thorough()(network, *images, eps=0.1)) != images[1]
    assert 0 < int(late.sum()) < len(late)
    assert not bool((late & ~early).any())


def test_a_stronger_attack_has_twice_the_steps_and_the_restarts_that_make_a_difference() -> None:
    assert PGD(steps=7, restarts=2, loss="cw").stronger() == PGD(steps=14, restarts=4, loss="cw")
    assert PGD(steps=7, random_start=False).stronger() == PGD(steps=14, random_start=False)
    assert PGD(steps=7).thorough() == PGD(steps=7, early_stop=False)


def test_restarts_that_could_only_repeat_are_left_out(network: nn.Module, images: Labelled) -> None:
    queries = Queries()
    attack_batch(PGD(steps=2, restarts=5, random_start=False).thorough(), network, *images, Threat(0.1), queries)
    assert queries.images == 2 * len(images[0])


# --- a table that is known -------------------------------------------------------------------------------------------


def test_on_digits_noise_is_weaker_than_one_step_and_that_than_many() -> None:
    x, y, net = digits_network()
    corners = torch.randint(0, 2, x.shape, generator=torch.Generator().manual_seed(0)).mul(2).sub(1)
    thesis = PGD(rel_step_size=0.5, steps=100)
    for eps in (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5):
        noise = float((predict(net, (x + eps * corners).clamp(0, 1)) == y).float().mean())
        one, forty, hundred = (accuracy(attack, net, (x, y), eps) for attack in (FGSM(), PGD(steps=40), thesis))
        assert max(forty, hundred) <= one <= noise
        assert abs(forty - hundred) < 0.02
        if eps >= 0.3:
            assert forty == hundred == 0
    own = predict(net, x)
    pushed_back = predict(net, thesis(net, x, own, eps=0.5)) == y
    assert bool(pushed_back.any()), "with its own prediction for a label, a wrong image is pushed onto its class"


def digits_network() -> tuple[Tensor, Tensor, nn.Module]:
    """Train 64-48-32-10 on the digits for a moment; return test images, labels and the network."""
    data = Digits().load(Path())
    train, test = (part.fetch(torch.arange(len(part))) for part in (data.train, data.test))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(15):
        order = torch.randperm(len(train.images))
        for first in range(0, len(order), 64):
            rows = order[first : first + 64]
            optimizer.zero_grad()
            F.cross_entropy(net(train.images[rows]), train.labels[rows]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    assert float((predict(net, test.images) == test.labels).float().mean()) > 0.93
    return test.images, test.labels, net

from __future__ import annotations

import copy
import itertools

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_attacks.fgsm import FGSM
from rcframe_attacks.objective import confusion
from rcframe_attacks.pgd import PGD, random_point
from torch import Tensor, nn

import rcframe as rc
from rcframe import Attack, ModelOracle, Threat
from rcframe.api import Norm
from rcframe.evaluation.evaluate import attack_batch, predict
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
    found = PGD(random_start=random_start)(net, inner, y, eps=0.15)
    assert torch.allclose(margin(net, found, y), margin(net, inner, y) - 0.15 * w.abs().sum(1), atol=1e-10)


def test_on_a_linear_network_the_linf_optimum_within_the_pixel_range_is_reached() -> None:
    net, x, y, w = linear_case()
    found = PGD()(net, x, y, eps=0.4)
    assert torch.allclose(found, (x - 0.4 * w.sign().view_as(x)).clamp(0, 1), atol=1e-12)


def test_on_a_linear_network_the_l2_optimum_is_reached() -> None:
    net, x, y, w = linear_case()
    inner = 0.2 + 0.6 * x
    found = PGD(random_start=False)(net, inner, y, eps=0.15, norm="l2")
    assert torch.allclose(found, inner - 0.15 * (w / w.norm(dim=1, keepdim=True)).view_as(x), atol=1e-10)
    assert torch.allclose(margin(net, found, y), margin(net, inner, y) - 0.15 * w.norm(dim=1), atol=1e-10)


@pytest.mark.parametrize(("norm", "length"), [("linf", 0.03), ("l2", 0.03)])
def test_a_step_has_the_length_that_was_asked_for(norm: Norm, length: float) -> None:
    net, x, y, _ = linear_case()
    inner = 0.2 + 0.6 * x
    found = PGD(steps=3, step_size=0.01, random_start=False)(net, inner, y, eps=0.15, norm=norm)
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


@pytest.mark.parametrize("attack", [FGSM(), PGD(), PGD(restarts=3)])
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
        moved = PGD(steps=steps, step_size=0.002, random_start=False)(smooth, x, y, eps=0.1) if steps else x
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


@pytest.mark.parametrize("norm", NORMS)
def test_random_points_fill_the_ball_evenly(norm: Norm) -> None:
    torch.manual_seed(0)
    x = torch.rand(4000, 1, 1, 3, dtype=torch.float64)
    threat = Threat(0.2, norm)
    offsets = (random_point(x, threat) - x).flatten(1)
    # The fraction of the ball's volume that is nearer to the centre than a point is uniform.
    inside = (threat.distance(x + offsets.view_as(x), x) / 0.2) ** 3
    expected = torch.linspace(0, 1, 4000, dtype=torch.float64)
    assert float((inside.sort().values - expected).abs().max()) < 0.03
    assert float(offsets.mean(0).abs().max()) < 0.01
    assert float((offsets > 0).double().mean()) == pytest.approx(0.5, abs=0.03)


def test_a_random_start_is_moved_into_the_pixel_range_before_the_first_step() -> None:
    net, x, y, _ = linear_case()
    with seeded(0):
        start = random_point(x.round(), Threat(0.3, "linf")).clamp(0, 1)
    with seeded(0):
        found = PGD(steps=1, step_size=1e-9)(net, x.round(), y, eps=0.3)
    assert torch.allclose(found, start, atol=1e-8)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.8)])
def test_restarts_keep_the_worst_case_of_every_image(norm: Norm, eps: float, smooth: nn.Module) -> None:
    x = torch.rand(60, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = predict(smooth, x)
    with seeded(0):
        tries = [PGD(steps=1, step_size=0.01)(smooth, x, y, eps=eps, norm=norm) for _ in range(4)]
    with seeded(0):
        best = PGD(steps=1, step_size=0.01, restarts=4)(smooth, x, y, eps=eps, norm=norm)
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
    [(FGSM(), 1, 0), (PGD(steps=7), 7, 0), (PGD(steps=3, restarts=4), 12, 4)],
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

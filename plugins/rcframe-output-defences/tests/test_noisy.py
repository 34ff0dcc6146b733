from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st
from rcframe_output_defences.noisy import Distribution, Noisy, noise, noise_of_images
from torch import Generator, Tensor

import rcframe as rc
from rcframe import RequestError
from rcframe.guarding import guarded_oracle
from rcframe.testing.toys import some_images, trained_network
from rcframe.training.compute import Compute


def rows(seed: int, classes: int = 5, images: int = 6) -> Tensor:
    return 3 * torch.randn(images, classes, generator=torch.Generator().manual_seed(seed))


def images_for(logits: Tensor, seed: int = 0) -> Tensor:
    return torch.rand(len(logits), 1, 4, 4, generator=torch.Generator().manual_seed(seed))


def guarded(teacher: Noisy, logits: Tensor, images: Tensor | None = None, seed: int = 0) -> Tensor:
    chance = Generator().manual_seed(seed)
    return teacher.guard(logits, images_for(logits) if images is None else images, chance)


# -- the noise --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distribution", "moments"),
    [
        # Mean absolute value, variance and fourth moment of scale 1.
        ("gaussian", (math.sqrt(2 / math.pi), 1.0, 3.0)),
        ("laplace", (1.0, 2.0, 24.0)),
    ],
)
def test_the_noise_has_the_moments_of_its_distribution(
    distribution: Distribution, moments: tuple[float, float, float]
) -> None:
    drawn = noise(torch.Size([400_000]), distribution, Generator().manual_seed(3))
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)
    assert float(drawn.abs().mean()) == pytest.approx(moments[0], rel=0.01)
    assert float(drawn.square().mean()) == pytest.approx(moments[1], rel=0.02)
    assert float(drawn.pow(4).mean()) == pytest.approx(moments[2], rel=0.1)
    assert bool(drawn.isfinite().all())


def test_the_noise_of_an_image_does_not_depend_on_the_others() -> None:
    x = some_images()[0]
    drawn = noise_of_images(x, 3, "gaussian", 7)
    assert torch.equal(noise_of_images(x[4:6].flip(0), 3, "gaussian", 7), drawn[4:6].flip(0))
    assert torch.equal(noise_of_images(x[:0], 3, "gaussian", 7), drawn[:0])
    assert len({tuple(row.tolist()) for row in drawn}) == len(x)


def test_one_pixel_or_another_secret_gives_other_noise() -> None:
    x = some_images()[0][:1]
    moved = x.clone()
    moved[0, 0, 0, 0] += 1e-4
    drawn = noise_of_images(x, 3, "gaussian", 7)
    assert not torch.equal(noise_of_images(moved, 3, "gaussian", 7), drawn)
    assert not torch.equal(noise_of_images(x, 3, "gaussian", 8), drawn)


def test_the_noise_of_images_is_distributed_as_asked() -> None:
    x = torch.rand(4000, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    drawn = noise_of_images(x, 5, "laplace", 0)
    assert float(drawn.abs().mean()) == pytest.approx(1.0, rel=0.03)
    assert float(drawn.square().mean()) == pytest.approx(2.0, rel=0.06)


# -- what leaves ------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 10_000),
    st.floats(0, 50),
    st.sampled_from(["gaussian", "laplace"]),
    st.sampled_from(["logits", "probabilities"]),
    st.booleans(),
    st.booleans(),
)
def test_the_top_class_stays_if_asked_and_answers_are_sound(
    seed: int, scale: float, distribution: Distribution, on: str, repeat: bool, tied: bool
) -> None:
    z = rows(seed)
    z = z.round() if tied else z
    teacher = Noisy(scale=scale, distribution=distribution, on=on, repeat=repeat)  # type: ignore[arg-type]
    out = guarded(teacher, z, seed=seed)
    assert torch.equal(out.argmax(dim=1), z.argmax(dim=1))
    assert not out.isnan().any()
    assert torch.allclose(out.softmax(dim=1).sum(dim=1), torch.ones(len(z)))
    without = guarded(Noisy(scale=scale, distribution=distribution, on=on, repeat=repeat, keep_top=False), z, seed=seed)  # type: ignore[arg-type]
    same = torch.allclose(out.sort(dim=1).values, without.sort(dim=1).values, atol=1e-4)
    assert same, "keeping the top class may swap values and do nothing else"


def test_without_keeping_the_top_class_may_change() -> None:
    z = rows(0, images=200)
    assert not torch.equal(guarded(Noisy(scale=20.0, keep_top=False), z).argmax(dim=1), z.argmax(dim=1))


@pytest.mark.parametrize("distribution", ["gaussian", "laplace"])
def test_the_noise_is_added_to_the_logits_in_its_size(distribution: Distribution) -> None:
    z = rows(0)
    out = guarded(Noisy(scale=0.25, distribution=distribution, keep_top=False), z)
    expected = noise_of_images(images_for(z), 5, distribution, Generator().manual_seed(0).initial_seed())
    assert torch.allclose(out - z, 0.25 * expected.float(), atol=1e-6)


def test_fresh_noise_comes_from_the_generator_of_the_query() -> None:
    z, chance = rows(0), Generator().manual_seed(4)
    out = guarded(Noisy(repeat=False, keep_top=False), z, seed=4)
    assert torch.allclose(out - z, torch.randn(z.shape, dtype=torch.float64, generator=chance).float(), atol=1e-6)


def test_noise_on_probabilities_is_cut_at_zero_and_released_as_logarithms() -> None:
    z = rows(0)
    out = guarded(Noisy(on="probabilities", scale=0.3, keep_top=False), z)
    drawn = noise_of_images(images_for(z), 5, "gaussian", Generator().manual_seed(0).initial_seed())
    p = (z.double().softmax(dim=1) + 0.3 * drawn).clamp_min(0)
    assert torch.allclose(out.softmax(dim=1).double(), p / p.sum(dim=1, keepdim=True), atol=1e-6)
    assert bool((p == 0).any())
    assert torch.equal(out.isneginf(), p == 0)


def test_where_the_noise_leaves_no_probability_the_top_class_is_left() -> None:
    z = rows(0, classes=2, images=400)
    drawn = noise_of_images(images_for(z), 2, "gaussian", Generator().manual_seed(0).initial_seed())
    gone = ((z.double().softmax(dim=1) + 100 * drawn) <= 0).all(dim=1)
    out = guarded(Noisy(on="probabilities", scale=100.0, keep_top=False), z)
    assert bool(gone.any())
    assert torch.equal(out.argmax(dim=1)[gone], z.argmax(dim=1)[gone])
    assert torch.equal(out.softmax(dim=1).amax(dim=1)[gone], torch.ones(int(gone.sum())))


def test_without_noise_nothing_changes() -> None:
    z = rows(0)
    assert torch.equal(guarded(Noisy(scale=0.0), z), z)


# -- asked twice ------------------------------------------------------------------------------------------------------


def asked_often(spec: str, times: int = 200) -> tuple[Tensor, Tensor]:
    """Return the mean of many answers to the same images, and what the network would say."""
    network, x = trained_network(), some_images()[0]
    teacher = rc.teacher(spec)
    oracle = guarded_oracle(teacher, network, rc.Access.LOGIT, 0, Compute())
    with torch.no_grad():
        return torch.stack([oracle.logits(x) for _ in range(times)]).mean(dim=0), network(x)


def test_asking_again_is_of_no_use_if_the_noise_repeats_itself_and_undoes_it_if_not() -> None:
    repeated, clean = asked_often("noisy:keep_top=false")
    fresh, _ = asked_often("noisy:repeat=false,keep_top=false")
    assert float((repeated - clean).abs().mean()) > 0.5
    assert float((fresh - clean).abs().mean()) < 0.1


def test_a_teacher_says_whether_it_repeats_itself() -> None:
    assert Noisy().repeats()
    assert not Noisy(repeat=False).repeats()


@pytest.mark.parametrize("spec", ["noisy:scale=-1", "noisy:distribution=uniform", "noisy:on=labels"])
def test_options_out_of_range_are_refused(spec: str) -> None:
    with pytest.raises(RequestError, match="must be"):
        rc.teacher(spec)

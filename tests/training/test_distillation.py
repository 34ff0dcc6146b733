from __future__ import annotations

import itertools
from collections.abc import Iterator

import attrs
import pytest
import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Data
from rcframe.data.images import Batch, Dataset, Images, TensorImages
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import ModelOracle, Oracle
from rcframe.options import component
from rcframe.testing.toys import SHAPE, toy_dataset, toy_run, trained_network
from rcframe.training.context import Run
from rcframe.training.distillation import Distillation
from rcframe.training.loop import execute
from rcframe.training.losses import kl_divergence
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage


@component
class Copying(Distillation):
    """Learns the teacher's logits, and writes down what it was shown."""

    access = Access.LOGITS

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        """Train once."""
        answers = self.answers(run, teacher)

        def step(stage: Stage, batch: Batch) -> None:
            SHOWN.append(batch)
            LABELS.append(answers.labels(batch))
            stage.update(kl_divergence(answers.logits(batch), stage.module(batch.images), 1.0))

        yield self.stage(run, student, step, players={"answers": answers})


SHOWN: list[Batch] = []
LABELS: list[Tensor] = []


def tinted(count: int, shade: float, label: int | None = None) -> Images:
    """Images of one shade, each with its number in the corner."""
    x = torch.full((count, *SHAPE), shade)
    x[:, 0, 0, 0] = torch.arange(count) / 100
    return TensorImages(x, None if label is None else torch.full((count,), label))


def dataset() -> Dataset:
    """Ten dark labelled images to train on and thirty bright extra ones, whose labels nobody may read."""
    return attrs.evolve(toy_dataset(), train=tinted(10, 0.2, label=1), extra=tinted(30, 0.7, label=2))


def run_of(strategy: Distillation | Training, seed: int = 0, role: str = "student") -> Run:
    level = strategy.data if isinstance(strategy, Distillation) else Data.LABELLED
    return toy_run("student" if role == "student" else "teacher", level, seed, dataset())


def shown(strategy: Copying) -> tuple[Tensor, ModelOracle]:
    """Return the images (N, C, H, W) of one epoch, and the oracle that was asked."""
    SHOWN.clear()
    LABELS.clear()
    run = run_of(strategy)
    oracle = ModelOracle(trained_network(), strategy.access)
    execute(strategy.plan(run.network("student"), oracle, run), Monitor())
    return torch.cat([batch.images for batch in SHOWN]), oracle


def shades(x: Tensor) -> list[float]:
    return sorted({round(float(value), 3) for value in x[:, 0, 4, 4]})


def numbers(x: Tensor) -> list[int]:
    return sorted(round(100 * float(value)) for value in x[:, 0, 0, 0])


def copying(**options: object) -> Copying:
    return Copying(epochs=1, batch_size=4, **options)  # type: ignore[arg-type]  # options of a test


def test_a_student_learns_on_the_images_that_its_option_names() -> None:
    own, oracle = shown(copying())
    assert (shades(own), numbers(own), oracle.queries.images) == ([0.2], list(range(10)), 10)
    extra, oracle = shown(copying(images="extra"))
    assert (shades(extra), numbers(extra), oracle.queries.images) == ([0.7], list(range(30)), 30)
    both, oracle = shown(copying(images="both"))
    assert (shades(both), len(both), oracle.queries.images) == ([0.2, 0.7], 40, 40)


def test_labels_are_read_on_training_images_only_and_the_teacher_stands_in_elsewhere() -> None:
    shown(copying())
    assert torch.cat(LABELS).tolist() == [1] * 10
    for images in ("extra", "both"):
        x, _ = shown(copying(images=images))
        assert all(batch.y is None for batch in SHOWN)
        with torch.no_grad():
            top = trained_network()(x).argmax(dim=1)
        assert torch.equal(torch.cat(LABELS), top)


def test_what_is_needed_follows_the_images() -> None:
    plain, extra = copying(), copying(images="extra")
    assert (plain.data, plain.access) == (Data.LABELLED, Access.LOGITS)
    assert (extra.data, extra.access) == (Data.INPUTS, Access.LOGITS | Access.LABEL)
    assert (Copying.data, Copying.access) == (Data.LABELLED, Access.LOGITS)
    assert extra == copying(images="extra") != plain


def test_labels_of_other_images_are_out_of_reach_of_the_whole_method() -> None:
    run = run_of(copying(images="both"))
    for images in (run.data.train, run.data.extra):
        assert images is not None
        assert images.labels is None
        assert images.first(3).y is None


def test_a_data_set_without_extra_images_is_refused_with_those_that_have_some() -> None:
    for images in ("extra", "both"):
        with pytest.raises(RequestError) as refused:
            copying(images=images).check_run(toy_run("student", Data.INPUTS))
        assert str(refused.value) == (
            f"A student is to learn on extra images (images={images}), but the data set `toy` brings none: choose one "
            f"that does, such as `glyphs:extra=2000` or `svhn:extra=true`, or leave `images` at train."
        )


# -- a fraction of the images


def chosen(strategy: Training, seed: int = 0, role: str = "student") -> list[int]:
    images = strategy.chosen_images(run_of(strategy, seed, role))
    assert images is not None
    return numbers(images.first(1000).images)


@pytest.mark.parametrize(("fraction", "count"), [(1.0, 30), (0.5, 15), (0.29, 9), (0.1, 3)])
def test_a_fraction_is_the_nearest_whole_number_of_images_each_once(fraction: float, count: int) -> None:
    places = chosen(copying(images="extra", fraction=fraction))
    assert len(places) == len(set(places)) == count


def test_a_smaller_fraction_is_part_of_a_larger_one_of_the_same_seed() -> None:
    fractions = [set(chosen(copying(images="extra", fraction=share))) for share in (0.1, 0.4, 0.7, 1.0)]
    for small, large in itertools.pairwise(fractions):
        assert small < large
    assert chosen(copying(images="extra", fraction=0.4), seed=1) != sorted(fractions[1])


def test_all_methods_of_a_seed_get_the_same_fraction() -> None:
    ours = chosen(copying(fraction=0.5))
    assert ours == chosen(Training(fraction=0.5)) == chosen(Training(fraction=0.5), role="teacher")
    assert len(ours) == 5


def test_a_student_sees_and_asks_for_its_fraction_and_nothing_else() -> None:
    strategy = copying(images="extra", fraction=0.5)
    x, oracle = shown(strategy)
    assert numbers(x) == chosen(strategy)
    assert oracle.queries.images == 15
    # The answer to an image is its own, not that of another one with its place in the whole set.
    for batch in SHOWN:
        assert batch.index is not None
        assert max(batch.index.tolist()) < 15


@pytest.mark.parametrize("fraction", [0.01, 0.1])
def test_a_fraction_of_fewer_than_two_images_is_refused(fraction: float) -> None:
    with pytest.raises(
        RequestError, match=rf"^A fraction of {fraction:g} of 10 images is [01], but training needs two"
    ):
        copying(fraction=fraction).check_run(run_of(copying()))


def test_a_method_without_data_chooses_no_images() -> None:
    assert Training(fraction=0.5).chosen_images(toy_run("student", Data.NONE)) is None


def test_remembered_answers_belong_to_the_images_of_the_fraction() -> None:
    strategy = copying(images="both", fraction=0.5)
    run = run_of(strategy)
    answers = strategy.answers(run, ModelOracle(trained_network(), Access.LOGITS))
    seen: list[tuple[Tensor, Tensor]] = []

    def step(stage: Stage, batch: Batch) -> None:
        seen.append((batch.images, answers.logits(batch)))

    execute(iter([strategy.stage(run, run.network("student"), step, players={"answers": answers})]), Monitor())
    with torch.no_grad():
        for x, logits in seen:
            assert torch.allclose(trained_network()(x), logits, atol=1e-5)

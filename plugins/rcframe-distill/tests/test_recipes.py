from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rcframe.api import Model
from rcframe.choice import parse_choice
from rcframe.data.images import DataInfo
from rcframe.experiments.plan import PlannedRun, make_plan
from rcframe.experiments.recipe import Claim, Recipe, find_recipe
from rcframe.registry import registry

NAMES = ["distill/shallow-widths", "distill/shallow-temperature", "distill/shallow-robust"]
SHAPES = {"svhn crop": (3, 32, 17), "svhn": (3, 32, 32), "cifar10": (3, 32, 32)}


@pytest.fixture(scope="module", params=NAMES)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    name: str = request.param
    return find_recipe(name)


def full(recipe: Recipe) -> tuple[PlannedRun, ...]:
    return make_plan(recipe.scales["full"], seeds=1).runs


def parameters(spec: str, shape: tuple[int, int, int]) -> int:
    """Count the parameters of a network for ten classes, without the memory for them."""
    made = registry().make("model", parse_choice(spec, "model"))
    assert isinstance(made, Model)
    with torch.device("meta"):
        network = made.build(DataInfo("any", shape, tuple("0123456789"), (0.5,) * 3, (0.5,) * 3))
    return sum(parameter.numel() for parameter in network.parameters())


def shape_of(run: PlannedRun) -> tuple[int, int, int]:
    data = run.config.data
    return SHAPES[f"{data.name} crop" if data.options.get("crop") == "true" else data.name]


def test_published_sizes_are_those_of_the_networks(recipe: Recipe) -> None:
    runs = {run.name: run for run in full(recipe)}
    sizes = [one for one in recipe.published if one.figure == "student parameters"]
    for one in sizes:
        run = runs[one.row]
        assert parameters(str(run.config.student_model), shape_of(run)) == one.value, one.row
    assert len(sizes) >= (0 if recipe.name.endswith("temperature") else 3)


@pytest.mark.parametrize(
    ("spec", "data", "count"),
    [
        ("thesis-svhn:normalize=false", "svhn crop", 235_050),
        ("thesis-cifar:normalize=false", "cifar10", 550_570),
        ("convnet:normalize=false", "svhn", 43_446),
        ("convnet:channels=32+32+64+64,hidden=512,normalize=false", "cifar10", 253_130),
    ],
)
def test_teachers_have_their_published_sizes(spec: str, data: str, count: int) -> None:
    assert parameters(spec, SHAPES[data]) == count
    used = {(str(run.config.model), shape_of(run)) for name in NAMES for run in full(find_recipe(name))}
    assert (spec, SHAPES[data]) in used


def test_a_network_without_a_published_size_has_the_one_of_its_name(recipe: Recipe) -> None:
    for run in full(recipe):
        words = run.labels.get("net") or run.name.split(", ")[1]
        *convolutions, hidden = words.split("-")
        assert parameters(str(run.config.student_model), shape_of(run)) == by_hand(
            [int(word.removeprefix("C")) for word in convolutions],
            int(hidden.removeprefix("FC")),
            shape_of(run),
            strided=recipe.name.endswith("robust"),
        ), run.name


def by_hand(convolutions: list[int], hidden: int, shape: tuple[int, int, int], *, strided: bool) -> int:
    """Count weights and biases: 3x3 without padding and 2x2 maxima, or 4x4 with padding 1 and stride 2; two layers."""
    channels, height, width = shape
    kernel, lost, count = (16, 0, 0) if strided else (9, 2, 0)
    for following in convolutions:
        count += (kernel * channels + 1) * following
        channels, height, width = following, (height - lost) // 2, (width - lost) // 2
    return count + (channels * height * width + 1) * hidden + (hidden + 1) * 10


def test_every_claim_is_what_the_published_figures_show(recipe: Recipe) -> None:
    figures = {(one.row, one.figure): one.value for one in recipe.published}
    shown = 0
    for claim in recipe.claims_at("full"):
        for higher, lower in published_pairs(claim, figures):
            assert higher - lower > 0.01 * claim.by, claim.says
            shown += 1
    assert shown >= 5


def published_pairs(claim: Claim, figures: dict[tuple[str, str], float]) -> Iterator[tuple[float, float]]:
    for pair in claim.pairs:
        first = figures.get((pair.higher, f"{claim.about.role} {claim.about.what}"))
        second = figures.get((pair.lower, f"{claim.against.role} {claim.against.what}"))
        if first is not None and second is not None:
            yield first, second


@pytest.mark.parametrize(
    ("name", "cells"),
    # Tables 8.2 to 8.6 with the notebooks' row; 19 values for each of six networks, ten of the seventh, two of labels;
    # tables 8.14 to 8.16.
    [("distill/shallow-widths", 59), ("distill/shallow-temperature", 126), ("distill/shallow-robust", 14)],
)
def test_no_published_accuracy_is_missing(name: str, cells: int) -> None:
    assert len([one for one in find_recipe(name).published if one.figure == "student clean"]) == cells


def test_cells_stand_where_the_thesis_has_them() -> None:
    found = {
        one.row: round(100 * one.value, 3)
        for name in NAMES
        for one in find_recipe(name).published
        if one.figure == "student clean"
    }
    assert found["SVHN, FC10000, own data"] == 79.982
    assert found["SVHN, C172-FC512, extra data"] == 89.717
    assert found["SVHN, C32-C32-FC512, labels"] == 82.916
    assert found["CIFAR-10, C384-FC128, own and extra data"] == 68.650
    assert found["CIFAR-10, C256-C2048-FC128, own data"] == 75.190
    assert found["SVHN, C64-C512-FC512, temperature 2.0"] == 91.160
    assert found["SVHN, C64-C128-FC512, temperature 1.5"] == 92.306
    assert found["SVHN, C350-C1024-FC512, temperature 0.4"] == 91.760
    assert found["CIFAR-10, C128-C1024-FC128, temperature 3.5"] == 76.820
    assert found["CIFAR-10, C64-C128-FC128, temperature 0.1"] == 71.990
    assert found["SVHN, C64-FC100, extra data"] == 85.053
    assert found["CIFAR-10, C16-C64-FC512, own and extra data"] == 58.920


def test_a_student_of_labels_reads_no_extra_images(recipe: Recipe) -> None:
    for run in full(recipe):
        (student,) = run.config.students
        images = student.options.get("images", "train")
        extra = any(word in run.name for word in ("extra", "temperature", "logits"))
        wanted = "train" if not extra else "both" if run.name.startswith("CIFAR-10") else "extra"
        assert images == wanted, run.name
        assert (student.name == "plain") == run.name.endswith("labels")

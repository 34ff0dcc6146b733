from __future__ import annotations

import math
from collections.abc import Callable

import attrs
import pytest
import torch
from hypothesis import assume, given, strategies as st
from scipy.stats import binomtest
from torch import Tensor, nn

from rcframe.data.images import TensorImages
from rcframe.errors import RequestError
from rcframe.evaluation.album import Album
from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.evaluate import (
    CERTIFY_BATCH,
    PREDICT_BATCH,
    Accuracy,
    Evaluator,
    certified,
    commonest,
    predict,
    spread,
)
from rcframe.evaluation.oracle import Oracle, Queries
from rcframe.evaluation.threat import Threat
from rcframe.storage.keeper import Keeper
from tests.evaluation.doubles import (
    THREAT,
    Bounds,
    Brightness,
    Does,
    X,
    Y,
    backward,
    darken,
    fail,
    mixed,
    pictures,
    state,
)


class Answers(nn.Module):
    """Gives every image the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor(self.logits).expand(len(x), -1)


def evaluator(x: Tensor, y: Tensor, count: int | None = None) -> Evaluator:
    return Evaluator(images=TensorImages(x, y), count=len(x) if count is None else count)


def test_the_commonest_class_is_counted_among_all_and_is_never_none() -> None:
    assert commonest(torch.tensor([2, 0, 2, 1, 2])) == Accuracy(3, 5)
    assert commonest(torch.tensor([-1, -1, -1, 0, 1, 1], dtype=torch.int16)) == Accuracy(2, 6)
    assert commonest(torch.tensor([-1, -1])) == Accuracy(0, 2)
    assert commonest(torch.zeros(0)) == Accuracy(0, 0)


# -- counting ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 300), st.integers(1, 300))
def test_the_interval_is_wilsons(correct: int, n: int) -> None:
    assume(correct <= n)
    expected = binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert Accuracy(correct, n).interval == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_by_hand() -> None:
    assert Accuracy(8, 10).value == 0.8
    assert Accuracy(8, 10).interval == pytest.approx((0.490162, 0.943317), abs=1e-6)
    assert Accuracy(0, 10).interval == pytest.approx((0, 0.277533), abs=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_the_interval_holds_the_fraction_within_zero_and_one(correct: int, n: int) -> None:
    assume(correct <= n)
    low, high = Accuracy(correct, n).interval
    assert 0 <= low <= correct / n <= high <= 1


def test_no_image_tells_nothing() -> None:
    assert math.isnan(Accuracy(0, 0).value)
    assert Accuracy(0, 0).interval == (0, 1)


def test_right_images_are_counted() -> None:
    assert Accuracy.of(torch.tensor([True, False, True])) == Accuracy(2, 3)


@pytest.mark.parametrize("count", [1, PREDICT_BATCH - 1, PREDICT_BATCH, PREDICT_BATCH + 1, 2 * PREDICT_BATCH + 7])
def test_an_uneven_last_batch_is_counted_exactly(count: int) -> None:
    brightness = torch.rand(count, generator=torch.Generator().manual_seed(count))
    y = torch.arange(count) % 2
    network = Brightness()
    seen: list[int] = []
    judge = Evaluator(images=TensorImages(pictures(*brightness), y), count=count, progress=seen.append)
    right = judge.clean(network)
    assert torch.equal(right, (brightness > 0.5).long() == y)
    assert sum(seen) == count
    assert network.batches == seen
    assert max(seen) <= PREDICT_BATCH


def test_only_so_many_images_are_measured_in_their_order() -> None:
    x = pictures(0.1, 0.2, 0.3, 0.9)
    assert spread(TensorImages(x, torch.arange(4)), 3).tolist() == [0, 1, 2]
    assert evaluator(x, torch.tensor([0, 0, 1, 0]), count=3).clean(Brightness()).tolist() == [True, True, False]


def test_nothing_to_measure_gives_nothing() -> None:
    assert evaluator(pictures(0.1), torch.tensor([0]), count=0).clean(Brightness()).tolist() == []


def test_an_output_that_is_no_number_is_never_right() -> None:
    x = pictures(0.1)
    assert predict(Answers(0.0, float("nan")), x).tolist() == [-1]
    assert predict(Answers(float("nan"), float("nan")), x).tolist() == [-1]
    assert predict(Answers(0.0, float("inf")), x).tolist() == [1]


# -- the model comes back as it was -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "measure",
    [
        lambda network: evaluator(X, Y).clean(network),
        lambda network: evaluator(X, Y).attacked(network, Does(backward), THREAT),
        lambda network: evaluator(X, Y).certified(network, Bounds(lambda module, x: module(x)), THREAT),
        lambda network: Does(backward)(network, X, Y, eps=0.1),
    ],
    ids=["clean", "attacked", "certified", "outside a run"],
)
def test_measuring_leaves_modes_statistics_and_gradients_alone(measure: Callable[[nn.Module], object]) -> None:
    network = mixed()
    before = state(network)
    measure(network)
    assert state(network) == before


def test_everything_is_measured_in_evaluation_mode() -> None:
    network = mixed()
    modes: list[bool] = []
    network.register_forward_hook(lambda module, _i, _o: modes.extend(part.training for part in module.modules()))
    evaluator(X, Y).clean(network)
    evaluator(X, Y).attacked(network, Does(backward), THREAT)
    evaluator(X, Y).certified(network, Bounds(lambda module, x: module(x)), THREAT)
    assert modes
    assert not any(modes)


# -- attacks are not trusted ------------------------------------------------------------------------------------------


def test_the_figure_is_the_kernels_own_prediction_on_the_projected_images() -> None:
    """The attack would break everything; within the threat it breaks only the image that is close to one half."""
    network = Brightness()
    right = evaluator(X, Y).attacked(network, Does(darken), THREAT)
    assert right.tolist() == [True, True, False]
    assert evaluator(X, Y).clean(network).tolist() == [True, True, True]


def test_only_images_that_the_model_gets_right_are_attacked() -> None:
    """The second image is dark and called bright; brightening it would mend it."""
    given: list[Tensor] = []

    def brighten(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        given.append(x.clone())
        return x + threat.eps

    x, y = pictures(0.45, 0.46, 0.8), torch.tensor([0, 1, 1])
    judge, album = evaluator(x, y), Album.empty(3, (1, 2, 2))
    tally = judge.tally("does", album=album)
    assert judge.attacked(Brightness(), Does(brighten), THREAT, tally).tolist() == [False, False, True]
    assert torch.equal(torch.cat(given), x[[0, 2]])
    assert tally.answers.tolist() == [1, 0, 1]
    assert album.pictures[:, 0, 0, 0].tolist() == [round(255 * 0.55), round(255 * 0.46), round(255 * 0.9)]


def test_an_attack_on_images_that_are_all_wrong_is_not_called() -> None:
    judge = evaluator(X, 1 - Y)
    tally = judge.tally("does")
    assert judge.attacked(Brightness(), Does(fail), THREAT, tally).tolist() == [False] * 3
    assert tally.queries == Queries()


def test_how_far_images_were_moved_counts_for_those_that_were_broken() -> None:
    """Of four pixels each: the first is darkened by 0.05, the second withstands, the third was wrong before."""

    def shift(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x - 0.05

    judge = evaluator(pictures(0.52, 0.8, 0.3), torch.tensor([1, 1, 1]))
    tally = judge.tally("does")
    judge.attacked(Brightness(), Does(shift), THREAT, tally)
    assert tally.linf.tolist() == pytest.approx([0.05, 0, 0], abs=1e-6)
    assert tally.l2.tolist() == pytest.approx([0.1, 0, 0], abs=1e-6)


def test_faults_are_counted_over_all_batches() -> None:
    count = PREDICT_BATCH + 5
    judge = evaluator(pictures(*[0.2] * count), torch.zeros(count, dtype=torch.int64))
    tally = judge.tally("does")
    judge.attacked(Brightness(), Does(darken), THREAT, tally)
    assert tally.faults == Faults(outside=count)


def test_images_may_be_crafted_on_another_network() -> None:
    """Whatever the network crafted on calls bright is brightened: its opposite brightens what is dark."""
    opposite = Brightness()
    with torch.no_grad():
        opposite.weight.neg_()
    x, y = pictures(0.55, 0.45), torch.tensor([1, 0])
    uphill = Does(lambda source, x, y, threat: x + threat.eps * (source.logits(x)[:, 1] > 0).float().view(-1, 1, 1, 1))
    assert evaluator(x, y).attacked(Brightness(), uphill, THREAT).tolist() == [True, True]
    assert evaluator(x, y).attacked(Brightness(), uphill, THREAT, source=opposite).tolist() == [True, False]


def test_clean_answers_are_kept_where_they_are_wrong_and_where_they_are_no_numbers() -> None:
    judge = evaluator(pictures(0.2, 0.8), torch.tensor([1, 1]))
    tally, of_nothing = judge.tally("clean"), judge.tally("clean")
    judge.clean(Brightness(), tally)
    judge.clean(Answers(0.0, float("nan")), of_nothing)
    assert (tally.answers.tolist(), tally.answers.dtype) == ([0, 1], torch.int16)
    assert of_nothing.answers.tolist() == [-1, -1]


@pytest.mark.parametrize(("value", "words"), [(float("nan"), "hold values that are no numbers"), (2.0, "must lie in")])
def test_test_images_that_are_no_pixels_are_refused(value: float, words: str) -> None:
    x = X.clone()
    x[1, 0, 1, 1] = value
    with pytest.raises(RequestError, match=f"The test images .*{words}"):
        evaluator(x, Y).clean(Brightness())


def test_a_part_of_an_evaluator_measures_those_images_and_keeps_nothing() -> None:
    x, y = pictures(0.1, 0.2, 0.3, 0.9), torch.tensor([0, 1, 0, 1])
    seen: list[int] = []
    part = attrs.evolve(evaluator(x, y), progress=seen.append).part(torch.tensor([3, 1]))
    assert part.clean(Brightness()).tolist() == [True, False]
    assert seen == []
    assert type(part.keeper) is Keeper


def test_what_an_attack_asks_is_counted_over_all_batches() -> None:
    count = PREDICT_BATCH + 5
    judge = evaluator(pictures(*[0.2] * count), torch.zeros(count, dtype=torch.int64))
    tally = judge.tally("does")
    judge.attacked(Brightness(), Does(backward), THREAT, tally)
    assert tally.queries == Queries(images=count, gradient_images=count, calls=2)


# -- certificates -----------------------------------------------------------------------------------------------------


def test_an_image_is_certified_when_every_other_class_stays_below() -> None:
    margins = torch.tensor([[0.0, 0.5, 0.1], [0.0, 0.5, -0.1], [0.5, 0.0, 0.1], [0.5, 0.1, 0.0]])
    assert certified(margins, torch.tensor([0, 0, 1, 2])).tolist() == [True, False, True, True]


def test_the_column_of_the_label_does_not_count_whatever_stands_there() -> None:
    assert certified(torch.tensor([[-7.0, 0.5], [7.0, -0.5]]), torch.tensor([0, 0])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("margin", "largest", "proves"),
    [(0.0, 1.0, False), (0.9e-5, 1.0, False), (1.1e-5, 1.0, True), (1.1e-5, 100.0, False), (1.1e-3, 100.0, True)],
)
def test_a_margin_within_rounding_of_zero_proves_nothing(margin: float, largest: float, proves: bool) -> None:
    assert certified(torch.tensor([[0.0, margin, largest]]), torch.tensor([0])).item() is proves


@pytest.mark.parametrize("row", [[0.0, float("nan"), 1.0], [float("nan"), 1.0, 1.0], [0.0, float("inf"), 1.0]])
def test_what_is_no_number_proves_nothing(row: list[float]) -> None:
    assert certified(torch.tensor([row]), torch.tensor([0])).tolist() == [False]


def test_rows_are_judged_alone() -> None:
    margins = torch.tensor([[0.0, float("nan")], [0.0, 1.0], [0.0, 1e9], [0.0, 1e-3]])
    assert certified(margins, torch.zeros(4, dtype=torch.int64)).tolist() == [False, True, True, True]


def test_certificates_are_counted_exactly_over_uneven_batches() -> None:
    count = CERTIFY_BATCH + 3
    brightness, network = torch.linspace(0, 1, count), Brightness()
    y = torch.zeros(count, dtype=torch.int64)
    margins = Bounds(lambda module, x: module(x)[:, :1] - module(x) - 1.0)
    proved = evaluator(pictures(*brightness), y).certified(network, margins, THREAT)
    assert torch.equal(proved, 20 * (0.5 - brightness) > 1.0 + 1e-3)
    assert sorted(set(network.batches)) == [3, CERTIFY_BATCH]


def test_a_part_of_a_sorted_test_set_has_every_class() -> None:
    y = torch.arange(3).repeat_interleave(10)
    images = TensorImages(torch.arange(30.0).div(30).view(-1, 1, 1, 1), y)
    assert y[spread(images, 6)].tolist() == [0, 0, 1, 1, 2, 2]
    assert Evaluator(images=images, count=6).unseen(["a", "b", "c"]) == ()
    assert Evaluator(images=images, count=1).unseen(["a", "b", "c"]) == ("b", "c")
    assert spread(images, 30).tolist() == list(range(30))

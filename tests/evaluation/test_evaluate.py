from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, strategies as st
from scipy.stats import binomtest
from torch import Tensor, nn

import rcframe as rc
from rcframe.access import Access
from rcframe.api import Attack, Certifier, Norm
from rcframe.data.images import TensorImages
from rcframe.errors import AccessDenied, RequestError, RunFailed
from rcframe.evaluation.evaluate import (
    CERTIFY_BATCH,
    PREDICT_BATCH,
    Accuracy,
    Evaluator,
    attack_batch,
    certified,
    certify_batch,
    predict,
    spread,
)
from rcframe.evaluation.oracle import Oracle, Queries
from rcframe.evaluation.threat import Threat
from rcframe.testing import toys
from rcframe.testing.toys import fingerprint

THREAT = Threat(0.1)


class Brightness(nn.Module):
    """Class 1 if an image is brighter than one half on average; batch norm and dropout wait for training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.dropout = nn.BatchNorm2d(1), nn.Dropout(0.9)
        self.weight = nn.Parameter(torch.tensor(10.0))
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        brightness = self.dropout(self.norm(x)).mean(dim=(1, 2, 3)) - 0.5
        return self.weight * torch.stack([-brightness, brightness], dim=1)


class Answers(nn.Module):
    """Gives every image the same logits."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, x: Tensor) -> Tensor:
        return torch.tensor(self.logits).expand(len(x), -1)


def pictures(*brightness: float) -> Tensor:
    return torch.tensor(brightness).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous()


class Does(Attack):
    """An attack that is a function of the test's."""

    access = Access.LOGITS | Access.INPUT_GRAD

    def __init__(self, craft: Callable[[Oracle, Tensor, Tensor, Threat], Tensor], *norms: Norm) -> None:
        self._craft = craft
        self.norms = norms or ("linf", "l2")  # type: ignore[misc]  # a class variable elsewhere

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return self._craft(source, x, y, threat)


class Bounds(Certifier):
    """A certifier that is a function of the test's."""

    def __init__(self, margins: Callable[[nn.Module, Tensor], Tensor], reason: str | None = None) -> None:
        self._margins, self._reason = margins, reason

    def unsupported(self, module: nn.Module) -> str | None:
        return self._reason

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return self._margins(module, x)


def darken(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    return x - 100 * threat.eps


def evaluator(x: Tensor, y: Tensor, count: int | None = None) -> Evaluator:
    return Evaluator(images=TensorImages(x, y), count=len(x) if count is None else count)


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


def mixed() -> Brightness:
    network = Brightness()
    network.norm.train()
    network.dropout.eval()
    network.norm.weight.requires_grad_(False)
    network.weight.grad = torch.tensor(3.0)
    return network


def state(network: Brightness) -> tuple[object, ...]:
    return (
        fingerprint(network),
        [parameter.requires_grad for parameter in network.parameters()],
        [None if parameter.grad is None else float(parameter.grad) for parameter in network.parameters()],
    )


def backward(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    x.requires_grad_(True)
    source.logits(x).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    return x + x.grad


def fail(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    backward(source, x, y, threat)
    raise ZeroDivisionError


X = pictures(0.2, 0.8, 0.55)
Y = torch.tensor([0, 1, 1])


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


@pytest.mark.parametrize(
    "measure",
    [
        lambda network: attack_batch(Does(fail), network, X, Y, THREAT),
        lambda network: certify_batch(Bounds(lambda module, x: module(x) / [][0]), network, X, Y, THREAT),
    ],
    ids=["attack", "certifier"],
)
def test_a_failing_method_leaves_the_model_alone(measure: Callable[[nn.Module], object]) -> None:
    network = mixed()
    before = state(network)
    with pytest.raises((ZeroDivisionError, IndexError)):
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


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_proposals_outside_the_threat_are_projected_into_it(norm: Norm) -> None:
    threat = Threat(0.1, norm)
    x_adv = attack_batch(Does(darken), Brightness(), X, Y, threat)
    torch.testing.assert_close(threat.distance(x_adv, X), torch.full((3,), 0.1))
    assert float(x_adv.min()) >= 0


def test_the_figure_is_the_kernels_own_prediction_on_the_projected_images() -> None:
    """The attack would break everything; within the threat it breaks only the image that is close to one half."""
    network = Brightness()
    right = evaluator(X, Y).attacked(network, Does(darken), THREAT)
    assert right.tolist() == [True, True, False]
    assert evaluator(X, Y).clean(network).tolist() == [True, True, True]


def test_an_attack_that_helps_is_not_hidden() -> None:
    def repair(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x + threat.eps

    right = evaluator(pictures(0.45), torch.tensor([1])).attacked(Brightness(), Does(repair), THREAT)
    assert right.tolist() == [True]


def test_an_attack_that_works_in_place_moves_neither_its_ball_nor_the_labels() -> None:
    def overwrite(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        y.fill_(0)
        return x.zero_()

    x, y = X.clone(), Y.clone()
    x_adv = attack_batch(Does(overwrite), Brightness(), x, y, THREAT)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    torch.testing.assert_close(x_adv, X - 0.1)


NO_IMAGES = r"`Does` returned images (with values that are not finite|\(\d, \d, 2, 2\); expected \(3, 1, 2, 2\))"


@pytest.mark.parametrize(
    "proposal",
    [
        lambda x: x * float("nan"),
        lambda x: x + float("inf"),
        lambda x: x[:2],
        lambda x: x.expand(-1, 3, -1, -1),
    ],
    ids=["nan", "inf", "fewer", "channels"],
)
def test_proposals_that_are_no_images_are_refused(proposal: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(
        RunFailed,
        match=r"`Does` returned images (with values that are not finite|\(\d, \d, 2, 2\); expected \(3, 1, 2, 2\))",
    ):
        attack_batch(Does(lambda source, x, y, threat: proposal(x)), Brightness(), X, Y, THREAT)


def test_one_bad_pixel_is_enough() -> None:
    def poison(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        x[1, 0, 1, 1] = float("nan")
        return x

    with pytest.raises(RunFailed, match="not finite"):
        attack_batch(Does(poison), Brightness(), X, Y, THREAT)


def test_adversarial_images_keep_the_type_of_the_originals_and_carry_no_graph() -> None:
    x_adv = attack_batch(Does(lambda source, x, y, threat: x.double() - 0.01), Brightness(), X, Y, THREAT)
    assert x_adv.dtype == torch.float32
    assert not attack_batch(Does(backward), Brightness(), X, Y, THREAT).requires_grad


def test_at_eps_zero_nothing_is_asked_and_nothing_changes() -> None:
    queries = Queries()
    x_adv = attack_batch(Does(fail), Brightness(), X, Y, Threat(0.0), queries)
    assert torch.equal(x_adv, X)
    assert x_adv.data_ptr() != X.data_ptr()
    assert queries == Queries()


def test_what_an_attack_asks_is_counted_over_all_batches() -> None:
    count = PREDICT_BATCH + 5
    judge = evaluator(pictures(*[0.2] * count), torch.zeros(count, dtype=torch.int64))
    tally = judge.tally("does")
    judge.attacked(Brightness(), Does(backward), THREAT, tally)
    assert tally.queries == Queries(images=count, gradient_images=count, calls=2)


def test_an_attack_gets_what_it_declares_and_labels_but_no_more() -> None:
    assert (
        attack_batch(Does(lambda s, x, y, t: x + 0 * s.labels(x).view(-1, 1, 1, 1)), Brightness(), X, Y, THREAT)
        is not X
    )
    with pytest.raises(AccessDenied, match="not probabilities"):
        attack_batch(Does(lambda s, x, y, t: s.probabilities(x)), Brightness(), X, Y, THREAT)
    with pytest.raises(AccessDenied, match="not parameters"):
        attack_batch(Does(lambda s, x, y, t: next(s.module().parameters())), Brightness(), X, Y, THREAT)


def test_an_attack_finds_gradients_on_although_the_caller_turned_them_off() -> None:
    with torch.no_grad():
        attack_batch(Does(backward), Brightness(), X, Y, THREAT)


def test_an_attack_in_another_norm_is_refused() -> None:
    with pytest.raises(RequestError, match="`Does` works in l2, not in linf"):
        attack_batch(Does(darken, "l2"), Brightness(), X, Y, THREAT)


@pytest.mark.parametrize(
    "method",
    [
        lambda x: Does(darken)(Brightness(), x, Y, eps=0.1),
        lambda x: Bounds(lambda module, images: module(images))(Brightness(), x, Y, eps=0.1),
    ],
    ids=["attack", "certifier"],
)
def test_images_that_are_no_pixels_are_refused(method: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(RequestError, match="must lie in"):
        method(X * 255)


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


def test_an_unsupported_model_is_refused_with_the_reason() -> None:
    with pytest.raises(RequestError, match="`Bounds` cannot certify this model: layer `norm` is odd"):
        certify_batch(Bounds(lambda module, x: x, "layer `norm` is odd"), Brightness(), X, Y, THREAT)


def test_a_norm_that_is_not_covered_is_refused() -> None:
    with pytest.raises(RequestError, match="`Bounds` certifies linf, not l2"):
        certify_batch(Bounds(lambda module, x: module(x)), Brightness(), X, Y, Threat(0.1, "l2"))


@pytest.mark.parametrize("shape", [(3,), (2, 2), (3, 2, 1)])
def test_margins_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RunFailed, match="returned margins"):
        certify_batch(Bounds(lambda module, x: torch.ones(shape)), Brightness(), X, Y, THREAT)


def test_margins_can_be_trained_on_outside_a_measurement() -> None:
    network = Brightness()
    Bounds(lambda module, x: module(x))(network, X, Y, eps=0.1)[:, 1].sum().backward()  # type: ignore[no-untyped-call]
    assert float(network.weight.grad or 0) == pytest.approx(float((X.mean(dim=(1, 2, 3)) - 0.5).sum()), rel=1e-2)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (torch.tensor([1]), "labels (1,) of torch.int64, but each of the 4 images needs one whole number"),
        (torch.tensor([0.0, 1, 2, 0]), "labels (4,) of torch.float32"),
        (torch.tensor([True, False, True, False]), "labels (4,) of torch.bool"),
        (torch.eye(4, dtype=torch.int64), "labels (4, 4) of torch.int64"),
        (torch.tensor([0, 1, -1, 2]), "come with label -1, but classes are counted from 0"),
        (torch.tensor([0, 1, 3, 2]), "There is a label 3, but the model has 3 classes"),
    ],
)
@pytest.mark.parametrize("method", ["attack", "certifier"])
def test_labels_that_do_not_belong_to_the_images_are_refused(method: str, labels: Tensor, sentence: str) -> None:
    model, x = toys.trained_network(), toys.some_images(4)[0]
    call = rc.attack("pgd", steps=1) if method == "attack" else rc.certifier("convex")
    with pytest.raises(RequestError, match=re.escape(sentence)):
        call(model, x, labels, eps=0.1)


def test_labels_of_any_whole_number_type_serve() -> None:
    model, (x, y) = toys.trained_network(), toys.some_images(4)
    fgsm = rc.attack("fgsm")
    assert torch.equal(fgsm(model, x, y.to(torch.uint8), eps=0.1), fgsm(model, x, y, eps=0.1))


def test_attacks_work_where_gradients_are_switched_off_and_return_detached_images() -> None:
    model, (x, y) = toys.trained_network(), toys.some_images(4)
    expected = rc.attack("fgsm")(model, x, y, eps=0.1)
    with torch.inference_mode():
        assert torch.equal(rc.attack("fgsm")(model, x.clone(), y.clone(), eps=0.1), expected)
    assert not rc.attack("fgsm")(model, x.clone().requires_grad_(True), y, eps=0.1).requires_grad


def test_a_part_of_a_sorted_test_set_has_every_class() -> None:
    y = torch.arange(3).repeat_interleave(10)
    images = TensorImages(torch.arange(30.0).div(30).view(-1, 1, 1, 1), y)
    assert y[spread(images, 6)].tolist() == [0, 0, 1, 1, 2, 2]
    assert Evaluator(images=images, count=6).unseen(["a", "b", "c"]) == ()
    assert Evaluator(images=images, count=1).unseen(["a", "b", "c"]) == ("b", "c")
    assert spread(images, 30).tolist() == list(range(30))

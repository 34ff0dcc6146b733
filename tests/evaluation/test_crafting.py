from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.access import Access
from rcframe.api import Norm
from rcframe.errors import AccessDenied, RequestError, RunFailed
from rcframe.evaluation.crafting import Faults, attack_batch, certify_batch
from rcframe.evaluation.oracle import ModelOracle, Oracle, Queries
from rcframe.evaluation.threat import Threat
from rcframe.testing import toys
from tests.evaluation.doubles import THREAT, Bounds, Brightness, Does, X, Y, backward, darken, fail, mixed, state


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


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_proposals_outside_the_threat_are_projected_into_it(norm: Norm) -> None:
    threat = Threat(0.1, norm)
    x_adv = attack_batch(Does(darken), Brightness(), X, Y, threat)
    torch.testing.assert_close(threat.distance(x_adv, X), torch.full((3,), 0.1))
    assert float(x_adv.min()) >= 0


def test_an_attack_that_works_in_place_moves_neither_its_ball_nor_the_labels() -> None:
    def overwrite(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        y.fill_(0)
        return x.zero_()

    x, y = X.clone(), Y.clone()
    x_adv = attack_batch(Does(overwrite), Brightness(), x, y, THREAT)
    assert torch.equal(x, X)
    assert torch.equal(y, Y)
    torch.testing.assert_close(x_adv, X - 0.1)


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


def test_an_attack_gets_what_it_declares_and_labels_but_no_more() -> None:
    assert (
        attack_batch(Does(lambda s, x, y, t: x + 0 * s.labels(x).view(-1, 1, 1, 1)), Brightness(), X, Y, THREAT)
        is not X
    )
    with pytest.raises(AccessDenied, match="not probabilities"):
        attack_batch(Does(lambda s, x, y, t: s.probabilities(x)), Brightness(), X, Y, THREAT)
    with pytest.raises(AccessDenied, match="not parameters"):
        attack_batch(Does(lambda s, x, y, t: next(s.module().parameters())), Brightness(), X, Y, THREAT)


def test_who_asks_a_guarded_model_compares_numbers_where_it_rules_classes_out() -> None:
    seen: list[Tensor] = []

    def ruled_out(logits: Tensor, *_: object) -> Tensor:
        return torch.where(logits == logits.amax(dim=1, keepdim=True), logits, -torch.inf)

    def look(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        seen.append(source.logits(x))
        return x

    attack_batch(Does(look), Brightness(), X, Y, THREAT, release=ruled_out)
    assert seen[0].isfinite().all()
    assert float(seen[0].min()) < -1000


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


@pytest.mark.parametrize(
    "proposal", [lambda x: x[:2], lambda x: x.expand(-1, 3, -1, -1), lambda x: None], ids=["fewer", "channels", "none"]
)
def test_proposals_that_are_no_images_are_refused(proposal: Callable[[Tensor], Tensor]) -> None:
    words = (
        r"`Does` returned (images \(\d, \d, 2, 2\); expected|a NoneType from `craft`; expected images) \(3, 1, 2, 2\)"
    )
    with pytest.raises(RunFailed, match=words):
        attack_batch(Does(lambda source, x, y, threat: proposal(x)), Brightness(), X, Y, THREAT)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_image_with_one_pixel_that_is_no_number_stays_as_it_was_and_is_counted(value: float) -> None:
    def poison(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        x[1, 0, 1, 1] = value
        return x - threat.eps * (torch.arange(len(x)) != 1).view(-1, 1, 1, 1)

    faults = Faults()
    x_adv = attack_batch(Does(poison), Brightness(), X, Y, THREAT, faults=faults)
    assert torch.equal(x_adv[1], X[1])
    torch.testing.assert_close(x_adv[[0, 2]], X[[0, 2]] - 0.1)
    assert faults == Faults(outside=0, broken=1)


def test_proposals_outside_the_ball_are_counted_but_not_what_rounding_adds() -> None:
    def reach(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x + torch.tensor([1.0005, 1.01, -2.0]).view(-1, 1, 1, 1) * threat.eps

    faults = Faults()
    for _ in range(2):
        x_adv = attack_batch(Does(reach), Brightness(), X, Y, THREAT, faults=faults)
    assert faults == Faults(outside=4, broken=0)
    torch.testing.assert_close(x_adv, X + torch.tensor([0.1, 0.1, -0.1]).view(-1, 1, 1, 1))


def test_an_attack_that_looks_for_the_nearest_image_may_go_further() -> None:
    class Nearest(Does):
        nearest = True

    faults = Faults()
    x_adv = attack_batch(Nearest(darken), Brightness(), X, Y, THREAT, faults=faults)
    assert faults == Faults()
    assert torch.equal(x_adv, X), "what is further away than eps does not count, nor does a part of the way"
    nearer = Nearest(lambda source, x, y, threat: x - 0.05)
    torch.testing.assert_close(attack_batch(nearer, Brightness(), X, Y, THREAT), X - 0.05)


def test_a_model_without_gradients_is_no_bug_of_the_attack() -> None:
    class Stopped(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach().flatten(1)[:, :3]

    def climb(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        (gradient,) = torch.autograd.grad(source.logits(x.requires_grad_(True)).sum(), x)
        return x + gradient

    with pytest.raises(RequestError, match="finds no gradient from the model's outputs back to the image"):
        attack_batch(Does(climb), Stopped(), X, Y, THREAT)


def test_a_model_in_double_precision_answers_in_that_of_the_images() -> None:
    oracle = ModelOracle(Brightness().double(), Access.LOGITS)
    assert oracle.logits(X.double()).dtype == torch.float64

    class Wide(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.double().flatten(1)[:, :2] - 5

    assert ModelOracle(Wide(), Access.LOGITS).logits(X).dtype == torch.float32


@pytest.mark.parametrize(
    ("model", "y", "sentence"),
    [
        ("convnet", [0, 1, 0], "is a str, but it must be an `nn.Module`"),
        (nn.Linear(7, 2), [0, 1, 0], r"cannot read images \(1, 2, 2\)"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), [0, 1, 5], "a label 5, but the model has 2 classes"),
    ],
)
def test_what_cannot_be_attacked_from_python_is_told(model: nn.Module, y: list[int], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Does(darken)(model, X, torch.tensor(y), eps=0.1)


@pytest.mark.parametrize("made", [lambda x: x.to(torch.complex64), lambda x: x.to_sparse()], ids=["complex", "sparse"])
def test_images_that_are_no_plain_tensors_are_refused(made: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(RunFailed, match="expected plain images"):
        attack_batch(Does(lambda source, x, y, threat: made(x)), Brightness(), X, Y, THREAT)


def test_images_may_be_crafted_on_another_network() -> None:
    asked, attacked, queries = mixed(), mixed(), Queries()
    before = state(asked), state(attacked)
    with torch.no_grad():
        asked.weight.neg_()
    ours = attack_batch(Does(backward), attacked, X, Y, THREAT)
    transferred = attack_batch(Does(backward), attacked, X, Y, THREAT, queries, source=asked)
    with torch.no_grad():
        asked.weight.neg_()
    assert torch.equal(attack_batch(Does(backward), asked, X, Y, THREAT), ours)
    torch.testing.assert_close(transferred, X - (ours - X))
    assert queries == Queries(3, 3, 1)
    assert (state(asked), state(attacked)) == before


def test_what_is_crafted_follows_the_network_that_was_asked() -> None:
    class Constant(nn.Module):
        def __init__(self, answer: int) -> None:
            super().__init__()
            self.answer = answer

        def forward(self, x: Tensor) -> Tensor:
            return 5 * torch.eye(2)[[self.answer] * len(x)]

    def follow(source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x + 0.1 * source.labels(x).view(-1, 1, 1, 1) - 0.05

    x = torch.full_like(X, 0.5)
    torch.testing.assert_close(attack_batch(Does(follow), Constant(0), x, Y, THREAT), x - 0.05)
    torch.testing.assert_close(attack_batch(Does(follow), Constant(0), x, Y, THREAT, source=Constant(1)), x + 0.05)

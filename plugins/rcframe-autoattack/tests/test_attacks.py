"""What the components promise beyond the package: counts, traits, effort."""

from __future__ import annotations

import pytest
import torch
from rcframe_autoattack.apgd import APGDCE, APGDT
from rcframe_autoattack.fab import FABT
from rcframe_autoattack.square import Square
from torch import Tensor, nn

from rcframe import Access, Attack, Queries, Threat
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.training.randomness import seeded

Labelled = tuple[Tensor, Tensor]


def asked(attack: Attack, net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Queries:
    queries = Queries()
    attack_batch(attack, net, x, y, Threat(eps), queries)
    return queries


def test_queries_are_what_the_methods_say_while_nothing_falls(network: nn.Module, images: Labelled) -> None:
    right = predict(network, images[0]) == images[1]
    x, y = images[0][right][:6], images[1][right][:6]
    # A first answer, then the start and every step; towards each of two classes also who comes next.
    assert asked(APGDCE(steps=7), network, x, y, 1e-4) == Queries(6 + 6 * 8, 6 * 8, 1 + 8)
    assert asked(APGDT(steps=7), network, x, y, 1e-4) == Queries(1 + 6 + 2 * 6 * 9, 2 * 6 * 8, 1 + 1 + 2 * 9)
    # Towards each class the own label and who comes next, and in every step a gradient and a label.
    assert asked(FABT(steps=7), network, x, y, 1e-4) == Queries(1 + 2 * 6 * 16, 2 * 6 * 7, 1 + 2 * 16)
    # The stripes it starts from, every square, the first answer and the last.
    assert asked(Square(queries=9), network, x, y, 1e-4) == Queries(6 * 12, 0, 12)


def test_squares_ask_only_about_images_that_stand(network: nn.Module, images: Labelled) -> None:
    right = predict(network, images[0]) == images[1]
    x, y = images[0][right], images[1][right]
    with seeded(0):
        found = Square(queries=300)(network, x, y, eps=0.2)
    fallen = int((predict(network, found) != y).sum())
    with seeded(0):
        queries = asked(Square(queries=300), network, x, y, 0.2)
    assert fallen > 5
    assert queries.images < 303 * (len(x) - fallen) + 0.75 * 303 * fallen


def test_traits_are_those_of_the_papers() -> None:
    gradient = Access.LOGITS | Access.INPUT_GRAD
    assert [a.access for a in (APGDCE(), APGDT(), FABT(), Square())] == [gradient, gradient, gradient, Access.LOGITS]
    assert [a.nearest for a in (APGDCE(), APGDT(), FABT(), Square())] == [False, False, True, False]


@pytest.mark.parametrize(
    ("attack", "more"),
    [
        (APGDCE(steps=10), APGDCE(steps=20, restarts=2)),
        (APGDT(steps=10, targets=2), APGDT(steps=20, targets=2)),
        (FABT(steps=10), FABT(steps=20)),
        (Square(queries=10), Square(queries=20)),
    ],
)
def test_stronger_is_twice_the_effort(attack: Attack, more: Attack) -> None:
    assert attack.stronger() == more


def test_thorough_drives_the_loss_on() -> None:
    assert APGDCE(steps=7).thorough() == APGDCE(steps=7, early_stop=False)
    assert Square().thorough() == Square()


def test_more_targets_than_classes_are_left_out(network: nn.Module, images: Labelled) -> None:
    for few, many in ((APGDT(steps=5, targets=2), APGDT(steps=5)), (FABT(steps=5, targets=2), FABT(steps=5))):
        with seeded(1):
            expected = few(network, *images, eps=0.12)
        with seeded(1):
            assert torch.equal(many(network, *images, eps=0.12), expected)


def test_every_target_is_tried(network: nn.Module, images: Labelled) -> None:
    # Towards the third class the boundary of some images is nearer than towards the second.
    with seeded(1):
        one = FABT(steps=20, targets=1)(network, *images, eps=1, norm="l2")
    with seeded(1):
        both = FABT(steps=20, targets=2)(network, *images, eps=1, norm="l2")
    assert int((predict(network, both) == images[1]).sum()) <= int((predict(network, one) == images[1]).sum())
    assert not torch.equal(one, both)

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.access import Access
from rcframe.api import Attack, Certifier, Norm
from rcframe.data.images import TensorImages
from rcframe.evaluation import curves as module
from rcframe.evaluation.curves import Climber, likely_rungs
from rcframe.evaluation.evaluate import Evaluator
from rcframe.evaluation.ladder import Ladder, Start, Way
from rcframe.evaluation.oracle import Oracle, Queries
from rcframe.evaluation.threat import Threat
from rcframe.storage.keeper import Keeper, Work
from rcframe.testing.toys import toy_images, trained_network
from rcframe.training.compute import Compute

if TYPE_CHECKING:
    from tests.evaluation.conftest import InParallel

COUNT = 90
POINTS = tuple(number / 40 for number in range(1, 21))


class Brightness(nn.Module):
    """Class 1 if an image is brighter than one half on average."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(10.0))

    def forward(self, x: Tensor) -> Tensor:
        brightness = x.mean(dim=(1, 2, 3)) - 0.5
        return self.weight * torch.stack([-brightness, brightness], dim=1)


class Towards(Attack):
    """Moves every pixel towards one half and beyond: breaks an image exactly where that is possible."""

    norms = ("linf", "l2")
    access = Access.LABEL

    def __init__(self) -> None:
        self.given: list[tuple[float, int]] = []

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        source.labels(x)
        self.given.append((threat.eps, len(x)))
        sign = 1.0 - 2.0 * y.view(-1, 1, 1, 1)
        # Four equal pixels: half as far in each makes the distance in l2.
        return x + sign * threat.eps * (1.0 if threat.norm == "linf" else 0.5)


class Exact(Certifier):
    """Proves exactly what `Brightness` withstands in linf."""

    def unsupported(self, network: nn.Module) -> str | None:
        return None

    def margins(self, network: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        own = (x.mean(dim=(1, 2, 3)) - 0.5) * (2 * y - 1) - threat.eps
        return own.unsqueeze(1).expand(-1, 2)


def images() -> TensorImages:
    """Plain images, some of them wrong; four equal pixels that stay within bounds wherever they are moved."""
    shade = torch.rand(COUNT, generator=torch.Generator().manual_seed(3))
    y = (shade > 0.5).long()
    y[::9] = 1 - y[::9]
    return TensorImages(shade.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).contiguous(), y)


def expected(norm: Norm = "linf") -> Tensor:
    """The rung that breaks each image, computed from its distance to one half."""
    data = images()
    away = (data.x[:, 0, 0, 0].double() - 0.5).abs() * (1 if norm == "linf" else 2)
    labels = data.labels
    assert labels is not None
    wrong = (data.x[:, 0, 0, 0] > 0.5).long() != labels
    rungs = torch.searchsorted(torch.tensor(POINTS, dtype=torch.float64), away) + 1
    return rungs.where(~wrong, 0)


def climbed(
    attack: Attack | None = None, norm: Norm = "linf", way: Way = Way.SEARCH, **fields: Any
) -> tuple[Tensor, Ladder]:
    judge = Evaluator(images=images(), count=COUNT, **fields)
    network = Brightness()
    quiet = Evaluator(images=images(), count=COUNT)
    clean = quiet.clean(network)
    climber = Climber(evaluator=judge, module=network, norm=norm)
    if attack is None:
        top = quiet.certified(network, Exact(), Threat(POINTS[-1], norm))
        ladder = Ladder("curve", POINTS, Start(clean, top), way, {})
        return climber.certified(Exact(), ladder), ladder
    tally = quiet.tally("top")
    top = quiet.attacked(network, Towards(), Threat(POINTS[-1], norm), tally)
    ladder = Ladder("curve", POINTS, Start(clean, top), way, {})
    return climber.attacked(attack, ladder), ladder


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("way", [Way.SEARCH, Way.ASCENT])
def test_every_image_breaks_where_its_distance_says(norm: Norm, way: Way) -> None:
    found, _ = climbed(Towards(), norm, way)
    assert torch.equal(found, expected(norm))


def test_a_certificate_ends_where_the_distance_says() -> None:
    found, _ = climbed()
    assert torch.equal(found, expected())


def test_two_attempts_are_enough_where_the_gradient_leads(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is linear, so the guess is exact: the attack fails below it and succeeds there."""
    monkeypatch.setattr("rcframe.evaluation.ladder._WORTHWHILE", 1)
    attack = Towards()
    climbed(attack)
    right = int((expected() > 0).sum())
    assert sum(count for _, count in attack.given) <= 2 * right


def test_questions_of_attack_and_guide_are_counted() -> None:
    attack = Towards()
    _, ladder = climbed(attack)
    crafted = sum(count for _, count in attack.given)
    right = int((expected() > 0).sum())
    broken_at_all = int(((expected() > 0) & (expected() <= len(POINTS))).sum())
    assert ladder.queries.gradient_images == broken_at_all <= right
    assert ladder.queries.images > crafted + broken_at_all
    assert ladder.queries.calls == len(attack.given)


def test_where_no_gradient_leads_back_images_are_found_all_the_same() -> None:
    class Steps(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x > -1) * x.detach())

    guess = likely_rungs(Steps(), images().x, torch.zeros(COUNT, dtype=torch.int64), POINTS, "linf", Queries())
    # The weight is fixed, so nothing of this needs a gradient.
    assert guess.tolist() == [0] * COUNT


def test_the_guess_is_the_first_rung_at_which_a_step_along_the_gradient_errs() -> None:
    data, network = images(), Brightness()
    labels = data.labels
    assert labels is not None
    queries = Queries()
    guess = likely_rungs(network, data.x, labels, POINTS, "linf", queries)
    right = expected() > 0
    assert torch.equal(guess[right], expected()[right].where(expected()[right] <= len(POINTS), 0))
    assert queries.gradient_images == COUNT
    assert network.weight.grad is None
    assert network.weight.requires_grad
    assert network.training


def test_a_curve_agrees_with_its_points_measured_alone() -> None:
    """Iterated attacks are not perfect: a few images may fall at a radius below one that they withstood."""
    network, data = trained_network(), toy_images(120, 5)
    judge = Evaluator(images=data, count=120)
    attack, points = rc.attack("pgd", steps=10), tuple(number / 50 for number in range(1, 21))
    alone = torch.stack([judge.attacked(network, attack, Threat(point)) for point in points])
    tally = judge.tally("top")
    top = judge.attacked(network, attack, Threat(points[-1]), tally)
    ladder = Ladder("curve", points, Start(judge.clean(network), top, tally.linf), Way.SEARCH, {})
    found = Climber(evaluator=judge, module=network, norm="linf").attacked(attack, ladder)
    together = torch.stack([found > rung for rung in range(1, len(points) + 1)])
    assert 0.1 < float(together.float().mean()) < 0.9, "the curve says nothing"
    assert float((together != alone).float().mean()) < 0.04
    accuracies = together.float().mean(dim=1) - alone.float().mean(dim=1)
    assert float(accuracies.abs().max()) <= 0.04


# -- stopping and going on --------------------------------------------------------------------------------------------


class Stopped(Exception):
    """The process that measured is gone."""


class Stopping(Keeper):
    """Stops a search after so many batches and puts the next one where it was left."""

    def __init__(self, after: int | None) -> None:
        self.left = after
        self.kept: Mapping[str, object] | None = None
        self.finished = False

    @contextmanager
    def keeping(self, work: Work) -> Iterator[bool]:
        if self.kept is not None:
            work.load_state_dict(self.kept)
        yield self.finished
        self.kept, self.finished = work.final_state(), True

    def progressed(self, work: Work) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left == 0:
            self.left, self.kept = None, work.state_dict()
            raise Stopped


@pytest.mark.parametrize("after", [1, 2, 4])
def test_a_stopped_search_goes_on_as_if_it_had_not_stopped(after: int) -> None:
    keeper, seen, attacks = Stopping(after), list[int](), (Towards(), Towards(), Towards())
    with pytest.raises(Stopped):
        climbed(attacks[0], keeper=keeper)
    found, ladder = climbed(attacks[1], keeper=keeper, progress=seen.append)
    _, of_whole = climbed(attacks[2])
    assert torch.equal(found, expected())
    assert attacks[0].given + attacks[1].given == attacks[2].given
    assert ladder.queries == of_whole.queries
    assert sum(seen) == COUNT


def test_a_finished_search_is_only_read() -> None:
    keeper, seen, attack = Stopping(None), list[int](), Towards()
    climbed(Towards(), keeper=keeper)
    found, _ = climbed(attack, keeper=keeper, progress=seen.append)
    assert torch.equal(found, expected())
    assert attack.given == []
    assert seen == [COUNT]


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_batches_and_all_know_the_result(
    count: int, in_parallel: InParallel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rcframe.evaluation.evaluate.PREDICT_BATCH", 8)
    monkeypatch.setattr(module, "PREDICT_BATCH", 8)
    results: dict[int, Tensor] = {}
    attacks = [Towards() for _ in range(count)]

    def measure(compute: Compute) -> None:
        results[compute.index] = climbed(attacks[compute.index], compute=compute)[0]

    in_parallel(count, measure)
    assert all(torch.equal(found, expected()) for found in results.values())
    assert all(attack.given for attack in attacks)


def test_running_out_of_memory_is_said_once() -> None:
    class Narrow(Towards):
        def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
            if len(x) > 4:
                raise torch.OutOfMemoryError("no room")
            return super().craft(source, x, y, threat)

    said: list[str] = []
    found, _ = climbed(Narrow(), say=said.append)
    assert torch.equal(found, expected())
    assert said
    assert len(said) == len(set(said))

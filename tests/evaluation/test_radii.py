from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from rcframe.api import Certifier, Norm
from rcframe.data.images import TensorImages
from rcframe.evaluation import evaluate, radii as module
from rcframe.evaluation.evaluate import Evaluator, predict
from rcframe.evaluation.radii import Radii, RadiusSearch, find_radii, largest_radius
from rcframe.evaluation.threat import Threat
from rcframe.storage.keeper import Keeper, Work
from rcframe.storage.tree import flatten, unflatten
from rcframe.training.compute import Compute

if TYPE_CHECKING:
    from tests.evaluation.conftest import InParallel

COUNT, SIZE = 90, 4


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CERTIFY_BATCH", SIZE)
    monkeypatch.setattr(evaluate, "CERTIFY_BATCH", SIZE)


# -- the search -------------------------------------------------------------------------------------------------------


def search_of(right: Tensor, first: float = 0.1, most: float = 1.0) -> RadiusSearch:
    return RadiusSearch("radii", right, Threat(first), most, {})


def searched(search: RadiusSearch, true: Tensor, most_images: int = 5) -> list[tuple[float, list[int]]]:
    """Answer whatever a search asks, and return what it asked."""
    asked = []
    while batch := search.next(most_images):
        radius, which = batch
        asked.append((radius, which.tolist()))
        search.note(radius, which, true[which] >= radius)
        assert len(asked) <= 100 * len(true), "it does not end"
    return asked


#: True radii: nothing at all, less than the tolerance, beyond the largest, and what lies between.
ANY_RADII = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e-3), st.floats(0, 1.2)), min_size=1, max_size=12)


@given(ANY_RADII, st.sampled_from([1e-3, 0.03, 0.1, 0.7, 1.0, 5.0]), st.data())
def test_the_largest_proved_radius_is_found_to_a_tolerance(
    true: list[float], first: float, data: st.DataObject
) -> None:
    right = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(true), max_size=len(true))))
    exact = torch.tensor(true, dtype=torch.float64)
    search = search_of(right, first)
    asked = searched(search, exact)
    found = search.radii.double()
    assert found[~right].eq(0).all()
    reach = exact.clamp(max=1.0)
    # The range that is halved is as wide as the radius that was tried first, or as its own lower end.
    width = torch.maximum(torch.tensor(min(first, 1.0), dtype=torch.float64), reach)
    assert (found <= reach * (1 + 1e-6))[right].all()
    assert (found >= (reach - width / 1024) * (1 - 1e-6))[right].all()
    assert all(len(which) <= 5 for _, which in asked)
    assert not {image for _, which in asked for image in which} & set((~right).nonzero().flatten().tolist())
    assert search.done == len(true)


def test_a_radius_by_hand() -> None:
    """First 0.1, then twice and four times as much; 0.32 lies between 0.2 and 0.4, which is halved ten times."""
    search = search_of(torch.tensor([True]))
    asked = [radius for radius, _ in searched(search, torch.tensor([0.32], dtype=torch.float64))]
    assert asked[:7] == pytest.approx([0.1, 0.2, 0.4, 0.3, 0.35, 0.325, 0.3125])
    assert len(asked) == 3 + 10
    assert search.radii.item() == pytest.approx(0.32, abs=0.2 / 1024)


def test_where_the_first_radius_fails_the_range_below_is_halved() -> None:
    asked = [radius for radius, _ in searched(search_of(torch.tensor([True])), torch.tensor([0.03]))]
    assert asked[:4] == pytest.approx([0.1, 0.05, 0.025, 0.0375])
    assert len(asked) == 1 + 10


def test_what_is_proved_everywhere_has_the_largest_radius_and_is_not_halved() -> None:
    search = search_of(torch.tensor([True]), first=0.3)
    assert [radius for radius, _ in searched(search, torch.tensor([2.0]))] == [0.3, 0.6, 1.0]
    assert search.radii.tolist() == [1.0]


def test_a_run_at_radius_zero_starts_small() -> None:
    asked = searched(search_of(torch.tensor([True]), first=0.0), torch.tensor([0.02]))
    assert [radius * 255 for radius, _ in asked[:4]] == pytest.approx([1, 2, 4, 8])


def test_images_that_want_the_same_radius_are_asked_together() -> None:
    true = torch.tensor([0.05, 0.3, 0.06, 0.31, 0.9], dtype=torch.float64)
    asked = searched(search_of(torch.ones(5, dtype=torch.bool)), true)
    assert asked[0] == (0.1, [0, 1, 2, 3, 4])
    assert (0.05, [0, 2]) in asked
    assert (0.2, [1, 3, 4]) in asked
    assert (0.4, [1, 3, 4]) in asked


def as_read(state: Mapping[str, object]) -> Mapping[str, object]:
    """What a file gives back."""
    plain, tensors = flatten(state)
    return cast("Mapping[str, object]", unflatten(json.loads(json.dumps(plain)), [t.clone() for t in tensors]))


@given(st.integers(0, 60))
def test_a_search_that_goes_on_asks_what_it_would_have_asked(stop: int) -> None:
    true = torch.rand(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    right = torch.arange(9) != 4
    whole, stopped, again = search_of(right), search_of(right), search_of(right)
    asked = searched(whole, true)
    before = list[tuple[float, list[int]]]()
    while len(before) < stop and (batch := stopped.next(5)):
        before.append((batch[0], batch[1].tolist()))
        stopped.note(*batch, true[batch[1]] >= batch[0])
    again.load_state_dict(as_read(stopped.state_dict()))
    assert before + searched(again, true) == asked
    assert torch.equal(again.radii, whole.radii)


def test_a_state_is_not_changed_by_what_comes_after() -> None:
    search = search_of(torch.tensor([True]))
    state = search.state_dict()
    searched(search, torch.tensor([0.3]))
    assert cast(Tensor, state["low"]).tolist() == [0.0]
    search.load_state_dict(state)
    searched(search, torch.tensor([0.3]))
    assert cast(Tensor, state["low"]).tolist() == [0.0]


def test_a_search_is_determined_by_its_name_and_what_it_was_told() -> None:
    right = torch.tensor([True])
    assert RadiusSearch("a", right, Threat(0.1), 1.0, {"threat": "linf"}).identity() == {"name": "a", "threat": "linf"}
    assert RadiusSearch("a", right, Threat(0.1), 1.0, None).identity() is None


@pytest.mark.parametrize(("norm", "largest"), [("linf", 1.0), ("l2", math.sqrt(12))])
def test_the_largest_radius_reaches_every_image(norm: Norm, largest: float) -> None:
    threat = Threat(0.1, norm)
    assert largest_radius(threat, (3, 2, 2)) == pytest.approx(largest)
    black, white = torch.zeros(1, 3, 2, 2), torch.ones(1, 3, 2, 2)
    assert threat.distance(white, black).item() == pytest.approx(largest)


def test_radii_are_described_by_hand() -> None:
    assert Radii.of(torch.tensor([0.0, 0.5, 0.25, 0.25])) == Radii(0.25, 0.25, math.sqrt(0.125 / 4), 4)
    assert Radii.of(torch.tensor([0.5])) == Radii(0.5, 0.5, 0.0, 1)


# -- measuring --------------------------------------------------------------------------------------------------------


class Brightness(nn.Module):
    """Class 1 if an image is brighter than one half on average."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(10.0))

    def forward(self, x: Tensor) -> Tensor:
        brightness = x.mean(dim=(1, 2, 3)) - 0.5
        return self.weight * torch.stack([-brightness, brightness], dim=1)


class Exact(Certifier):
    """Bounds of `Brightness` that are exact in both norms; keeps the radius and the size of each batch."""

    norms = ("linf", "l2")

    def __init__(self, most: int = COUNT) -> None:
        self.most = most
        self.batches: list[tuple[float, int]] = []

    def unsupported(self, network: nn.Module) -> str | None:
        return None

    def margins(self, network: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        if len(x) > self.most:
            raise torch.OutOfMemoryError("no room")
        self.batches.append((float(threat.eps), len(x)))
        logits = network(x)
        darker = threat.eps / (1.0 if threat.norm == "linf" else math.sqrt(x[0].numel()))
        return cast(Tensor, logits.gather(1, y.unsqueeze(1)) - logits - 20 * darker)


def images() -> TensorImages:
    x = torch.rand(COUNT, 1, 1, 1, generator=torch.Generator().manual_seed(1)).expand(-1, 1, 2, 2)
    return TensorImages(x, torch.arange(COUNT) % 2)


PLACES = torch.arange(0, COUNT, 3)


def searching(norm: Norm = "linf") -> RadiusSearch:
    right = predict(Brightness(), images().x[PLACES]) == torch.arange(COUNT)[PLACES] % 2
    threat = Threat(0.1, norm)
    return RadiusSearch("student: radii by exact", right, threat, largest_radius(threat, (1, 2, 2)), {})


def found(certifier: Exact | None = None, search: RadiusSearch | None = None, **fields: Any) -> Tensor:
    judge = Evaluator(images=images(), count=COUNT, **fields)
    return find_radii(judge, PLACES, Brightness(), certifier or Exact(), search or searching())


@pytest.mark.parametrize(("norm", "scale"), [("linf", 1.0), ("l2", 2.0)])
def test_radii_are_those_of_the_images_in_either_norm(norm: Norm, scale: float) -> None:
    radii = found(search=searching(norm))
    brightness = images().x[PLACES, 0, 0, 0] - 0.5
    right = (brightness > 0) == (PLACES % 2 == 1)
    exact = scale * torch.where(right, brightness.abs(), 0.0)
    assert right.any()
    assert not right.all()
    assert (radii - exact).abs().max() < scale * 0.4 / 1024
    # Each was proved, so none is too large by more than rounding.
    assert (radii <= exact + 1e-6).all()


def test_batches_hold_images_of_one_radius_and_no_more_than_fit() -> None:
    certifier = Exact()
    found(certifier)
    right = int(searching().right.sum())
    assert max(size for _, size in certifier.batches) == SIZE
    assert [size for radius, size in certifier.batches if radius == 0.1] == [SIZE] * (right // SIZE) + (
        [right % SIZE] if right % SIZE else []
    )
    assert len(certifier.batches) < sum(size for _, size in certifier.batches)


def test_the_progress_adds_up_to_the_images() -> None:
    seen: list[int] = []
    found(progress=seen.append)
    assert sum(seen) == len(PLACES)
    assert min(seen) >= 0


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
            work.load_state_dict(as_read(self.kept))
        yield self.finished
        self.kept, self.finished = work.final_state(), True

    def progressed(self, work: Work) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                self.left, self.kept = None, work.state_dict()
                raise Stopped


@pytest.mark.parametrize("after", [1, 2, 7, 20])
def test_a_stopped_search_goes_on_with_the_same_batches(after: int) -> None:
    keeper, certifier, whole, seen = Stopping(after), Exact(), Exact(), list[int]()
    expected = found(whole)
    with pytest.raises(Stopped):
        found(certifier, keeper=keeper)
    assert len(certifier.batches) == after
    assert torch.equal(found(certifier, keeper=keeper, progress=seen.append), expected)
    assert certifier.batches == whole.batches
    assert sum(seen) == len(PLACES)


def test_a_finished_search_is_only_read() -> None:
    keeper, again, seen = Stopping(None), Exact(), list[int]()
    first = found(keeper=keeper)
    assert torch.equal(found(again, keeper=keeper, progress=seen.append), first)
    assert again.batches == []
    assert seen == [len(PLACES)]


def test_out_of_memory_is_said_once_and_changes_nothing() -> None:
    said: list[str] = []
    assert torch.equal(found(Exact(most=2), say=said.append), found())
    assert said[0] == "Out of memory on 4 images: `student: radii by exact` goes on with 2 at a time."
    assert len(said) == len(set(said)) <= 2


@pytest.mark.parametrize("count", [2, 3])
def test_processes_share_the_batches_and_all_know_the_radii(count: int, in_parallel: InParallel) -> None:
    whole = Exact()
    expected = found(whole)
    results: dict[int, Tensor] = {}
    certifiers = [Exact() for _ in range(count)]

    def measure(compute: Compute) -> None:
        results[compute.index] = found(certifiers[compute.index], compute=compute)

    in_parallel(count, measure)
    assert all(torch.equal(radii, expected) for radii in results.values())
    assert sorted(batch for each in certifiers for batch in each.batches) == sorted(whole.batches)
    assert all(each.batches for each in certifiers)


def nothing_is_certain(network: nn.Module, x: Tensor) -> Tensor:
    return torch.full((len(x), 2), math.nan)


@pytest.mark.parametrize("margins", [nothing_is_certain, lambda network, x: torch.zeros(len(x), 2)], ids=["nan", "0"])
def test_what_is_never_proved_has_no_radius(margins: Callable[[nn.Module, Tensor], Tensor]) -> None:
    class Never(Exact):
        def margins(self, network: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
            return margins(network, x)

    assert found(Never()).tolist() == [0.0] * len(PLACES)

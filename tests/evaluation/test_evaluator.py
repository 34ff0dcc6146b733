"""Measuring in batches that can fail, stop and go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Attack, Certifier
from rcframe.data.images import TensorImages
from rcframe.errors import RunFailed
from rcframe.evaluation import evaluate
from rcframe.evaluation.album import Album
from rcframe.evaluation.evaluate import Evaluator
from rcframe.evaluation.oracle import Oracle, Queries
from rcframe.evaluation.tally import Tally
from rcframe.evaluation.threat import Threat
from rcframe.storage.keeper import Keeper, Work
from rcframe.training.compute import Compute

if TYPE_CHECKING:
    from tests.evaluation.conftest import InParallel

COUNT, SIZE = 42, 16
THREAT = Threat(0.2)


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "PREDICT_BATCH", SIZE)
    monkeypatch.setattr(evaluate, "CERTIFY_BATCH", SIZE)


class Brightness(nn.Module):
    """Class 1 if an image is brighter than one half on average; keeps the sizes of its batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(10.0))
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        brightness = x.mean(dim=(1, 2, 3)) - 0.5
        return self.weight * torch.stack([-brightness, brightness], dim=1)


def images(count: int = COUNT) -> TensorImages:
    """Images that `Brightness` gets right, so that all of them are attacked."""
    x = torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    return TensorImages(x, (x.mean(dim=(1, 2, 3)) > 0.5).long())


def twice(logits: Tensor, images: Tensor, query: int) -> Tensor:
    """A release that names the other class, marks its query, and needs the images to do so."""
    assert len(images) == len(logits)
    return torch.stack([logits[:, 1], logits[:, 0]], dim=1) + query % 1000


def test_clean_outputs_are_kept_for_every_image_if_wanted() -> None:
    module, evaluator = Brightness(), Evaluator(images=images(), count=COUNT)
    tally = evaluator.tally("clean", classes=2)
    assert evaluator.clean(module, tally).all()
    with torch.no_grad():
        assert torch.equal(tally.logits, module(images().x))
    assert module.batches == [SIZE, SIZE, COUNT - 2 * SIZE, COUNT]


def test_what_is_released_is_judged_in_the_place_of_the_answers() -> None:
    module, evaluator = Brightness(), Evaluator(images=images(), count=COUNT, seed=3)
    tally = evaluator.tally("released", classes=2)
    assert not evaluator.released(module, twice, tally).any()
    with torch.no_grad():
        marks = tally.logits - module(images().x).flip(1)
    numbers = [round(float(mark)) for mark in marks[:, 0]]
    # Each batch is a query of its own, and the same one whenever it is asked again.
    assert [len(set(numbers[start : start + SIZE])) for start in (0, SIZE, 2 * SIZE)] == [1, 1, 1]
    assert len({numbers[0], numbers[SIZE], numbers[2 * SIZE]}) == 3
    again = evaluator.tally("released", classes=2)
    evaluator.released(module, twice, again)
    assert torch.equal(again.logits, tally.logits)


@pytest.mark.parametrize("count", [2, 3])
def test_any_number_of_processes_finds_the_same_outputs(count: int, in_parallel: InParallel) -> None:
    def swapped(logits: Tensor, images: Tensor, query: int) -> Tensor:
        # Threads that stand for processes share their generator, so the number of the query is left alone.
        return logits.flip(1)

    alone = Evaluator(images=images(), count=COUNT)
    expected = alone.tally("released", classes=2)
    alone.released(Brightness(), swapped, expected)

    def measure(compute: Compute) -> None:
        evaluator = Evaluator(images=images(), count=COUNT, compute=compute)
        tally = evaluator.tally("released", classes=2)
        evaluator.released(Brightness(), swapped, tally)
        assert torch.equal(tally.logits, expected.logits)

    in_parallel(count, measure)


class Narrow(Attack):
    """Asks for the labels of its images, then fails if there are more than `most`, then darkens them."""

    access = Access.LABEL

    def __init__(self, most: int, error: Exception | None = None) -> None:
        self.most, self.error = most, error or torch.OutOfMemoryError("no room")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        source.labels(x)
        if len(x) > self.most:
            raise self.error
        return x - threat.eps


class Shaken(Attack):
    """Moves images at random."""

    access = Access.LABEL

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        source.labels(x)
        return x + threat.eps * (2 * torch.rand_like(x) - 1)


class Shut(Certifier):
    """Proves what the network says by a margin, for few images at a time."""

    def unsupported(self, module: nn.Module) -> str | None:
        return None

    def margins(self, module: nn.Module, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        if len(x) > 5:
            raise torch.OutOfMemoryError("no room")
        logits = module(x)
        return cast(Tensor, logits.gather(1, y.unsqueeze(1)) - logits)


# -- out of memory ----------------------------------------------------------------------------------------------------


def attacked(attack: Attack, **fields: Any) -> tuple[Tensor, Tally]:
    judge = Evaluator(images=images(), count=COUNT, **fields)
    tally = judge.tally("student: it")
    return judge.attacked(Brightness(), attack, THREAT, tally), tally


def pictures_of(attack: Attack, **fields: Any) -> Tensor:
    judge, album = Evaluator(images=images(), count=COUNT, **fields), Album.empty(COUNT, (1, 2, 2))
    judge.attacked(Brightness(), attack, THREAT, judge.tally("student: it", album=album))
    return album.pictures


def test_out_of_memory_halves_the_batch_until_it_fits_and_says_so_once() -> None:
    said: list[str] = []
    right, tally = attacked(Narrow(5), say=said.append)
    whole, of_whole = attacked(Narrow(COUNT))
    assert torch.equal(right, whole)
    assert said == [
        "Out of memory on 16 images: `student: it` goes on with 8 at a time.",
        "Out of memory on 8 images: `student: it` goes on with 4 at a time.",
    ]
    # Four pieces of each whole batch, and three of the ten images that are left.
    assert tally.queries == Queries(images=COUNT, calls=4 + 4 + 3)
    assert of_whole.queries == Queries(images=COUNT, calls=3)


def test_pieces_of_a_batch_fill_the_album_as_the_whole_batch_does() -> None:
    assert torch.equal(pictures_of(Narrow(5)), pictures_of(Narrow(COUNT)))


def test_what_was_asked_before_memory_ran_out_is_not_counted() -> None:
    _, tally = attacked(Narrow(1))
    assert tally.queries == Queries(images=COUNT, calls=COUNT)


def test_halving_starts_anew_for_the_next_measurement() -> None:
    said: list[str] = []
    judge = Evaluator(images=images(), count=COUNT, say=said.append)
    judge.attacked(Brightness(), Narrow(8), THREAT, judge.tally("first"))
    network = Brightness()
    judge.clean(network, judge.tally("second"))
    assert len(said) == 1
    assert network.batches == [16, 16, 10]


def test_certification_halves_its_batch_too() -> None:
    said: list[str] = []
    judge, network = Evaluator(images=images(), count=COUNT, say=said.append), Brightness()
    right = judge.certified(network, Shut(), THREAT)
    assert torch.equal(right, judge.clean(Brightness()))
    assert len(said) == 2
    assert network.batches == [4] * 10 + [2]


def test_a_model_too_large_for_memory_halves_the_batch_of_clean_images_too() -> None:
    class Large(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 8:
                torch.empty(1 << 50)
            return super().forward(x)

    judge, network = Evaluator(images=images(), count=COUNT), Large()
    assert torch.equal(judge.clean(network), judge.clean(Brightness()))
    assert network.batches == [8, 8, 8, 8, 8, 2]


def test_no_memory_for_even_one_image_ends_the_run() -> None:
    with pytest.raises(RunFailed, match="There is no memory to measure `student: it` on even one image") as raised:
        attacked(Narrow(0))
    assert isinstance(raised.value.__cause__, torch.OutOfMemoryError)


def test_another_error_is_not_taken_for_a_lack_of_memory() -> None:
    error = ZeroDivisionError()
    said: list[str] = []
    with pytest.raises(ZeroDivisionError):
        attacked(Narrow(5, error), say=said.append)
    assert said == []


def test_after_an_error_the_model_is_as_it_was() -> None:
    judge, network = Evaluator(images=images(), count=COUNT), Brightness().train()
    judge.attacked(network, Narrow(5), THREAT)
    assert network.training
    assert network.weight.requires_grad


# -- random numbers ---------------------------------------------------------------------------------------------------


def shaken(seed: int = 0, stream: str = "shaken", name: str = "student: shaken") -> Tensor:
    judge = Evaluator(images=images(), count=COUNT, seed=seed)
    return judge.attacked(Brightness(), Shaken(), THREAT, judge.tally(name, stream=stream))


def test_random_numbers_depend_on_seed_and_stream_alone() -> None:
    first = shaken()
    torch.rand(5)
    assert torch.equal(shaken(), first)
    assert torch.equal(shaken(name="teacher: shaken"), first)
    assert not torch.equal(shaken(seed=1), first)
    assert not torch.equal(shaken(stream="another"), first)


def test_batches_draw_different_numbers() -> None:
    """Equal images in all batches are judged otherwise in some, since they are moved otherwise."""
    x = torch.full((3 * SIZE, 1, 2, 2), 0.5)
    judge = Evaluator(images=TensorImages(x, torch.zeros(3 * SIZE, dtype=torch.int64)), count=3 * SIZE)
    right = judge.attacked(Brightness(), Shaken(), THREAT).view(3, SIZE)
    assert not torch.equal(right[0], right[1])
    assert not torch.equal(right[1], right[2])


def test_measuring_leaves_the_generators_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    shaken()
    assert torch.equal(torch.rand(3), expected)


# -- stopping and going on --------------------------------------------------------------------------------------------


class Stopped(Exception):
    """The process that measured is gone."""


class Stopping(Keeper):
    """Stops a measurement after so many batches and puts the next one where it was left."""

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


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_stopped_measurement_goes_on_with_the_same_numbers(after: int) -> None:
    keeper, seen = Stopping(after), list[int]()
    with pytest.raises(Stopped):
        attacked(Shaken(), keeper=keeper)
    torch.rand(3)
    right, tally = attacked(Shaken(), keeper=keeper, progress=seen.append)
    whole, of_whole = attacked(Shaken())
    assert torch.equal(right, whole)
    assert tally.queries == of_whole.queries == Queries(images=COUNT, calls=3)
    assert sum(seen) == COUNT


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_stopped_measurement_goes_on_with_the_same_pictures(after: int) -> None:
    keeper = Stopping(after)
    with pytest.raises(Stopped):
        pictures_of(Shaken(), keeper=keeper)
    assert torch.equal(pictures_of(Shaken(), keeper=keeper), pictures_of(Shaken()))
    assert torch.equal(pictures_of(Shaken(), keeper=keeper), pictures_of(Shaken())), "read when it was finished"


def test_pictures_are_of_the_images_that_were_judged() -> None:
    """Every fourth of 42 or so, each as dark as the attack made it."""
    places = [index * COUNT // 12 for index in range(12)]
    moved = (images().x[places] - 0.2).clamp(0, 1)
    assert torch.equal(pictures_of(Narrow(COUNT)), (255 * moved).round().to(torch.uint8))


def test_what_was_judged_is_not_judged_again() -> None:
    keeper = Stopping(2)
    judge = Evaluator(images=images(), count=COUNT, keeper=keeper)
    with pytest.raises(Stopped):
        judge.clean(Brightness(), judge.tally("clean"))
    network = Brightness()
    judge.clean(network, judge.tally("clean"))
    assert network.batches == [COUNT - 2 * SIZE]


def test_a_finished_measurement_is_only_read_and_its_progress_is_whole() -> None:
    keeper, seen = Stopping(None), list[int]()
    whole, of_whole = attacked(Shaken(), keeper=keeper)

    class Never(Brightness):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    judge = Evaluator(images=images(), count=COUNT, keeper=keeper, progress=seen.append)
    tally = judge.tally("student: it")
    assert torch.equal(judge.attacked(Never(), Shaken(), THREAT, tally), whole)
    assert tally.queries == of_whole.queries
    assert seen == [COUNT]


def test_every_batch_may_be_kept_once_it_is_counted() -> None:
    seen: list[int] = []

    class Asked(Keeper):
        def progressed(self, work: Work) -> None:
            assert isinstance(work, Tally)
            assert work.judged(0, sum(seen))
            assert not work.judged(0, COUNT) or sum(seen) == COUNT

    Evaluator(images=images(), count=COUNT, keeper=Asked(), progress=seen.append).clean(Brightness())
    assert seen == [16, 16, 10]


def test_a_part_of_the_set_is_spread_over_it_whatever_the_batches() -> None:
    labels = torch.zeros(100, dtype=torch.int64)
    x = torch.linspace(0, 1, 100).view(-1, 1, 1, 1)
    right = Evaluator(images=TensorImages(x, labels), count=40).clean(Brightness())
    assert right.tolist() == [index * 100 // 40 < 50 for index in range(40)]


# -- several processes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 5])
def test_processes_share_the_images_and_all_read_the_whole(count: int, in_parallel: InParallel) -> None:
    whole, of_whole = attacked(Narrow(COUNT))
    found: dict[int, tuple[Tensor, Queries, list[int], list[int]]] = {}
    albums = {index: Album.empty(COUNT, (1, 2, 2)) for index in range(count)}

    def measure(compute: Compute) -> None:
        network, seen = Brightness(), list[int]()
        judge = Evaluator(images=images(), count=COUNT, compute=compute, progress=seen.append)
        tally = judge.tally("student: it", album=albums[compute.index])
        right = judge.attacked(network, Narrow(COUNT), THREAT, tally)
        found[compute.index] = right, tally.queries, network.batches, seen

    in_parallel(count, measure)
    batches = [16, 16, 10]
    for index in range(count):
        right, queries, own, seen = found[index]
        assert torch.equal(right, whole)
        assert queries == of_whole.queries
        assert torch.equal(albums[index].pictures, pictures_of(Narrow(COUNT)))
        # Forward passes for the images as they are, for the attack's question, and for the judgement.
        assert own == [size for size in batches[index::count] for _ in range(3)]
        assert sum(seen) == COUNT

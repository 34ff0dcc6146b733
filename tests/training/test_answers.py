from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar, cast

import attrs
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.data.images import Batch, Dataset, Images, TensorImages
from rcframe.errors import AccessDenied, BudgetExceeded
from rcframe.evaluation.oracle import ModelOracle
from rcframe.storage.keeper import Keeper, Work
from rcframe.testing.stand_in import stand_in_announced
from rcframe.testing.subject import STAND_IN
from rcframe.testing.toys import toy_dataset, toy_images, toy_run, trained_network
from rcframe.training.answers import Answers, within
from rcframe.training.compute import Compute
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.losses import kl_divergence
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage

LOGIT, HARD = Access.LABEL | Access.PROBS | Access.LOGITS, Access.LABEL
T = TypeVar("T")


def oracle_of(access: Access = LOGIT, budget: int | None = None) -> ModelOracle:
    return ModelOracle(trained_network(), access, budget)


def batch_of(images: Images, *places: int, labelled: bool = True, index: bool = True) -> Batch:
    where = torch.tensor(places)
    batch = images.fetch(where)
    return attrs.evolve(batch, y=batch.y if labelled else None, index=where if index else None)


def directly(x: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = trained_network()(x)
    return logits


# -- what is asked, and how often


def test_unchanged_images_are_asked_once_all_together_and_answered_as_if_each_were_asked() -> None:
    images, oracle = toy_images(600, 7), oracle_of()
    answers = Answers(oracle, images, Compute())
    assert oracle.queries.images == 0
    for places in ([3, 599, 0], [5], list(range(256, 512)), [3, 3]):
        batch = batch_of(images, *places)
        assert torch.allclose(answers.logits(batch), directly(batch.images), atol=1e-5)
    # Three calls of at most 256 images.
    assert (oracle.queries.images, oracle.queries.calls) == (600, 3)


def test_changed_images_are_asked_every_time() -> None:
    images, oracle = toy_images(30, 7), oracle_of()
    answers = Answers(oracle, images, Compute())
    for count in (1, 2):
        batch = attrs.evolve(batch_of(images, 4, 5, index=False), x=1 - batch_of(images, 4, 5).images)
        assert torch.allclose(answers.logits(batch), directly(batch.images), atol=1e-6)
        assert oracle.queries.images == 2 * count


def test_a_teacher_that_answers_differently_every_time_is_asked_every_time() -> None:
    noise = torch.Generator().manual_seed(1)

    def release(logits: Tensor, *_: object) -> Tensor:
        return logits + torch.randn(logits.shape, generator=noise)

    images = toy_images(30, 7)
    oracle = ModelOracle(trained_network(), LOGIT, release=release, repeatable=False)
    answers = Answers(oracle, images, Compute())
    first, second = (answers.logits(batch_of(images, 1, 2)) for _ in range(2))
    assert not torch.equal(first, second)
    assert oracle.queries.images == 4


def test_what_a_teacher_answered_that_never_repeats_itself_outlasts_a_stop() -> None:
    noise = torch.Generator().manual_seed(1)

    def release(logits: Tensor, *_: object) -> Tensor:
        return 9 * torch.randn(logits.shape, generator=noise)

    images = toy_images(60, 7)
    oracle = ModelOracle(trained_network(), LOGIT, release=release, repeatable=False)
    before = Answers(oracle, images, Compute())
    top = before.top()
    after = Answers(oracle, images, Compute())
    after.load_state_dict(before.state_dict())
    assert torch.equal(after.top(), top)
    assert oracle.queries.images == 60


def test_logits_and_labels_of_one_batch_are_one_query() -> None:
    images, oracle = toy_images(30, 7), oracle_of()
    answers = Answers(oracle, images, Compute())
    batch = batch_of(images, 4, 5, labelled=False, index=False)
    assert torch.equal(answers.labels(batch), answers.logits(batch).argmax(dim=1))
    assert oracle.queries.images == 2
    known = batch_of(images, 4, 5, labelled=False)
    assert torch.equal(answers.labels(known), answers.logits(known).argmax(dim=1))
    assert oracle.queries.images == 2 + 30


def test_labels_of_a_labelled_batch_are_its_own_and_ask_nothing() -> None:
    images, oracle = TensorImages(toy_images(6, 7).x, torch.full((6,), 2)), oracle_of()
    batch = batch_of(images, 0, 1)
    assert Answers(oracle, images, Compute()).labels(batch).tolist() == [2, 2]
    assert oracle.queries.images == 0


@pytest.mark.parametrize("access", [HARD, HARD | Access.PROBS, LOGIT])
def test_an_unlabelled_batch_gets_the_teachers_top_answers_at_every_access(access: Access) -> None:
    images, oracle = toy_images(30, 7), oracle_of(access)
    answers = Answers(oracle, images, Compute())
    for batch in (batch_of(images, 9, 1, 4, labelled=False), batch_of(images, 2, labelled=False)):
        assert torch.equal(answers.labels(batch), directly(batch.images).argmax(dim=1))
    assert oracle.queries.images == 30
    assert torch.equal(answers.top(), directly(images.first(30).images).argmax(dim=1))
    assert oracle.queries.images == 30


def test_logits_that_are_not_granted_cannot_be_had_this_way() -> None:
    images = toy_images(6, 7)
    answers = Answers(oracle_of(HARD), images, Compute())
    with pytest.raises(AccessDenied, match="grants labels, not logits"):
        answers.logits(batch_of(images, 0))
    with pytest.raises(AccessDenied, match="grants labels, not logits"):
        answers.logits(batch_of(images, 0, index=False))


def test_a_budget_below_the_number_of_images_is_refused_before_the_first_is_asked() -> None:
    images, oracle = toy_images(30, 7), oracle_of(budget=29)
    answers = Answers(oracle, images, Compute())
    with pytest.raises(BudgetExceeded) as refused:
        answers.logits(batch_of(images, 0))
    assert str(refused.value) == (
        "The teacher is to answer for 30 images, each of them once, but the query budget leaves 29. Start another run "
        "with a larger --budget, or with fewer images by the student's option `fraction`; the teacher comes from the "
        "cache."
    )
    assert oracle.queries.images == 0
    enough = oracle_of(budget=30)
    Answers(enough, images, Compute()).logits(batch_of(images, 0))
    assert enough.remaining == 0


# -- several processes


class Several(Compute):
    """One of several processes, here threads, which wait for each other where they exchange something."""

    def __init__(self, index: int, table: list[object], meeting: Barrier) -> None:
        super().__init__()
        self.index, self.count = index, len(table)
        self.table, self.meeting = table, meeting

    def gather(self, item: T) -> list[T]:
        self.table[self.index] = item
        self.meeting.wait(timeout=60)
        gathered = cast("list[T]", list(self.table))
        self.meeting.wait(timeout=60)
        return gathered


def together(count: int, work: Callable[[Several], T]) -> list[T]:
    """Let every process do its work at the same time as the others; return what each found, or raise what one did."""
    table: list[object] = [None] * count
    meeting = Barrier(count)

    def one(index: int) -> T:
        try:
            return work(Several(index, table, meeting))
        except Exception:
            meeting.abort()
            raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


@pytest.mark.parametrize(("images", "count"), [(7, 2), (2, 3), (600, 2)])
def test_processes_ask_for_each_image_once_together_and_all_know_every_answer(images: int, count: int) -> None:
    asked = toy_images(images, 7)
    oracles = [oracle_of() for _ in range(count)]

    def learn(process: Several) -> Tensor:
        return Answers(oracles[process.index], asked, process).logits(batch_of(asked, *range(images)))

    whole = directly(asked.first(images).images)
    for found in together(count, learn):
        assert torch.allclose(found, whole, atol=1e-5)
    assert [oracle.queries.images for oracle in oracles] == [
        images // count + (index < images % count) for index in range(count)
    ]


def spent(budgets: Sequence[int], first: int, second: int) -> list[ModelOracle]:
    """Let processes with these budgets ask for two sets of images, one after the other; return their oracles."""
    oracles = [oracle_of(budget=budget) for budget in budgets]
    sets = [toy_images(first, 7), toy_images(second, 8)]

    def learn(process: Several) -> None:
        for images in sets:
            found = Answers(oracles[process.index], images, process).logits(batch_of(images, *range(len(images))))
            assert torch.allclose(found, directly(images.first(len(images)).images), atol=1e-5)

    together(len(budgets), learn)
    return oracles


def test_a_budget_that_processes_divide_is_enough_for_as_many_images_as_it_says() -> None:
    # The first process asks for 4 of 7, and of the 3 that follow for one: the other has one left over.
    oracles = spent([5, 5], 7, 3)
    assert [(oracle.queries.images, oracle.remaining) for oracle in oracles] == [(5, 0), (5, 0)]
    assert [oracle.queries.images for oracle in spent([7, 4, 9], 15, 4)] == [7, 4, 8]


def test_one_image_beyond_a_divided_budget_is_refused_by_all_processes_in_the_same_words() -> None:
    images = toy_images(7, 7)
    oracles = [oracle_of(budget=budget) for budget in (4, 2)]

    def refused(process: Several) -> str:
        with pytest.raises(BudgetExceeded) as caught:
            Answers(oracles[process.index], images, process).logits(batch_of(images, 0))
        return str(caught.value)

    first, second = together(2, refused)
    assert first == second
    assert "answer for 7 images, each of them once, but the query budget leaves 6." in first
    assert [oracle.queries.images for oracle in oracles] == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_shares_stay_within_what_each_is_free_to_ask_and_add_up(processes: list[tuple[int, int]]) -> None:
    parts, free = [part for part, _ in processes], [own for _, own in processes]
    assume(sum(free) >= sum(parts))
    shares = within(parts, free)
    assert sum(shares) == sum(parts)
    assert all(0 <= share <= own for share, own in zip(shares, free, strict=True))
    if all(part <= own for part, own in processes):
        assert shares == parts


def test_processes_that_go_on_ask_for_the_same_parts_as_before() -> None:
    """Divided anew, the answers would come in other batches, and round otherwise."""
    images = toy_images(7, 7)
    states: list[dict[str, object]] = [{}, {}]

    def begin(process: Several) -> Tensor:
        answers = Answers(oracle_of(budget=(5, 2)[process.index]), images, process)
        found = answers.logits(batch_of(images, *range(7)))
        states[process.index] = answers.state_dict()
        return found

    whole = together(2, begin)

    def go_on(process: Several) -> tuple[Tensor, ModelOracle, int]:
        network = Counting()
        answers = Answers(oracle := ModelOracle(network, LOGIT, budget=0), images, process)
        answers.load_state_dict(states[process.index])
        return answers.logits(batch_of(images, *range(7))), oracle, network.images

    for before, (after, oracle, seen), share in zip(whole, together(2, go_on), (5, 2), strict=True):
        assert torch.equal(before, after)
        assert (oracle.queries.images, seen) == (0, share)


class Counting(nn.Module):
    """Counts the images that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained_network()
        self.images = 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        logits: Tensor = self.net(x)
        return logits


# -- going on


class _Stop(Exception):
    """Ends a run in the middle."""


class Halting(Keeper):
    """Stops after some batches and hands over the state."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.state: Mapping[str, object] = {}

    def progressed(self, work: Work) -> None:
        self.left -= 1
        if self.left == 0:
            self.state = work.state_dict()
            raise _Stop


class GoingOn(Keeper):
    """Puts a stage where it was stopped."""

    def __init__(self, state: Mapping[str, object]) -> None:
        self.state = state

    @contextmanager
    def keeping(self, work: Work) -> Iterator[bool]:
        work.load_state_dict(self.state)
        yield False


class Drawing(nn.Module):
    """A teacher that draws numbers whenever it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.net = trained_network()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.net(x)
        return logits + 0.1 * torch.rand_like(logits)


def learning(run: Run, oracle: ModelOracle, **options: object) -> tuple[nn.Module, Stage]:
    student = run.network("student")
    training = Training(epochs=3, batch_size=16, **options)  # type: ignore[arg-type]  # options of a test
    answers = Answers(oracle, run.data.train, run.compute)

    def step(stage: Stage, batch: Batch) -> None:
        logits = stage.module(batch.images)
        # A step that draws numbers, as dropout does.
        noise = 0.01 * torch.randn_like(logits)
        stage.update(kl_divergence(answers.logits(batch), logits + noise, 2.0))

    stage = training.stage(run, student, step, players={"answers": answers, "queries": oracle.queries})
    return student, stage


@pytest.mark.parametrize("teacher", [trained_network, Drawing])
@pytest.mark.parametrize("after", [1, 4, 7])
def test_a_run_that_goes_on_ends_with_the_same_bits_and_the_same_count(
    after: int, teacher: Callable[[], nn.Module]
) -> None:
    def oracle() -> ModelOracle:
        return ModelOracle(teacher().eval(), LOGIT)

    whole, undisturbed = learning(toy_run("student"), asked := oracle())
    execute(iter([undisturbed]), Monitor())
    halting = Halting(after)
    with pytest.raises(_Stop):
        execute(iter([learning(toy_run("student"), oracle())[1]]), Monitor(), halting)
    again, continued = learning(toy_run("student"), asked_again := oracle())
    execute(iter([continued]), Monitor(), GoingOn(halting.state))
    assert all(torch.equal(whole.state_dict()[name], tensor) for name, tensor in again.state_dict().items())
    assert asked_again.queries == asked.queries
    assert asked.queries.images == 64


def test_augmented_and_attacked_batches_are_asked_in_every_epoch() -> None:
    base = toy_dataset()
    augmented: Dataset = attrs.evolve(base, augment=("flip",))
    for run, options, asked in (
        (toy_run("student"), {}, 64),
        (toy_run("student", dataset=augmented), {}, 3 * 64),
        (toy_run("student"), {"attack": STAND_IN, "attack_eps": 0.1}, 3 * 64),
    ):
        with stand_in_announced():
            _, stage = learning(run, oracle := oracle_of(), **options)
            execute(iter([stage]), Monitor())
        assert oracle.queries.images == asked


def test_answers_follow_the_images_and_not_their_order() -> None:
    """A student of remembered answers ends as one whose teacher is asked for every batch."""
    run = toy_run("student")
    remembered, stage = learning(run, oracle_of())
    execute(iter([stage]), Monitor())
    asked_each_time = oracle_of()
    asked_each_time.repeatable = False
    other, stage = learning(toy_run("student"), asked_each_time)
    execute(iter([stage]), Monitor())
    assert asked_each_time.queries.images == 3 * 64
    for name, tensor in remembered.state_dict().items():
        assert torch.allclose(tensor, other.state_dict()[name], atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_answers_lie_where_the_student_trains() -> None:
    device = torch.device("cuda")
    images = toy_images(30, 7)
    oracle = ModelOracle(trained_network().to(device), LOGIT)
    answers = Answers(oracle, images, Compute(device))
    batch = batch_of(images, 3, 1).to(device)
    assert answers.logits(batch).device.type == "cuda"
    assert torch.allclose(answers.logits(batch).cpu(), directly(batch.images.cpu()), atol=1e-3)

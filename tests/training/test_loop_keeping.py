"""The loop beside a keeper of work, and on a machine without memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from rcframe.data.images import Batch
from rcframe.errors import RunFailed
from rcframe.storage.keeper import Keeper, Work
from rcframe.storage.tree import flatten, unflatten
from rcframe.testing.toys import toy_run
from rcframe.training.compute import Compute
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

FIRST, SECOND = "teacher/train", "teacher/train-2"
BATCHES, EPOCHS = 4, 2


def copied(state: Mapping[str, object]) -> Mapping[str, object]:
    plain, tensors = flatten(state)
    return cast("Mapping[str, object]", unflatten(plain, [tensor.clone() for tensor in tensors]))


class Memory(Keeper):
    """Keeps everything in memory and writes down what it is asked."""

    def __init__(self, known: Mapping[str, Mapping[str, object]] | None = None, finished: tuple[str, ...] = ()) -> None:
        self.known, self.finished = dict(known or {}), set(finished)
        self.heard: list[str] = []
        self.positions: list[tuple[str, int, int]] = []
        self.states: list[Mapping[str, object]] = []

    @contextmanager
    def keeping(self, work: Work) -> Iterator[bool]:
        assert isinstance(work, Stage)
        assert work.optimizer is not None, "a stage has begun when it is put where it was left"
        if work.name in self.known:
            work.load_state_dict(copied(self.known[work.name]))
        finished = work.name in self.finished
        self.heard.append(f"{'knows' if finished else 'opens'} {work.name}")
        yield finished
        self.heard.append(f"closes {work.name}")
        if not finished:
            assert (work.epoch, len(work.history)) == (work.epochs, work.epochs)
            self.known[work.name] = copied(work.final_state())
            self.finished.add(work.name)

    def progressed(self, work: Work) -> None:
        assert isinstance(work, Stage)
        self.positions.append((work.name, work.epoch, work.batch))
        self.states.append(copied(work.state_dict()))


class Told(Monitor):
    def __init__(self) -> None:
        self.events: list[str] = []

    def stage_started(self, stage: Stage) -> None:
        self.events.append(f"start {stage.name}")

    def batch_done(self, stage: Stage, images: int) -> None:
        self.events.append(f"batch of {stage.name}")

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        self.events.append(f"epoch {stage.epoch} of {stage.name}")

    def stage_done(self, stage: Stage) -> None:
        self.events.append(f"done {stage.name}")

    def stage_recalled(self, stage: Stage) -> None:
        self.events.append(f"recalled {stage.name} after {len(stage.history)}")


def plan(stepped: list[str]) -> Iterator[Stage]:
    """Two stages of one network with dropout, whose steps say that they were called."""
    run, training = toy_run("teacher"), Training(epochs=EPOCHS, batch_size=16)
    network = nn.Sequential(run.network("net"), nn.Dropout(0.2))

    def step(stage: Stage, batch: Batch) -> None:
        stepped.append(stage.name)
        supervised(stage, batch)

    for _ in range(2):
        yield training.stage(run, network, step)


def trained(keeper: Keeper, monitor: Monitor | None = None) -> tuple[dict[str, Tensor], list[str]]:
    """Carry the plan out; return the final weights and which stages stepped."""
    stepped: list[str] = []
    target = execute(plan(stepped), monitor or Monitor(), keeper)
    assert target is not None
    assert not target.training
    return target.state_dict(), stepped


def equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one.keys() | other.keys())


@pytest.fixture(scope="module")
def whole() -> tuple[dict[str, Tensor], Memory]:
    """The weights of an undisturbed training, and what a keeper kept of it."""
    memory = Memory()
    return trained(memory)[0], memory


def test_keeping_changes_nothing(whole: tuple[dict[str, Tensor], Memory]) -> None:
    assert equal(trained(Keeper())[0], whole[0])


def test_every_stage_is_opened_once_begun_and_closed_once_over(whole: tuple[dict[str, Tensor], Memory]) -> None:
    assert whole[1].heard == [f"opens {FIRST}", f"closes {FIRST}", f"opens {SECOND}", f"closes {SECOND}"]


def test_every_batch_may_be_kept_with_the_position_behind_it(whole: tuple[dict[str, Tensor], Memory]) -> None:
    assert whole[1].positions == [
        (name, epoch, batch) for name in (FIRST, SECOND) for epoch in range(EPOCHS) for batch in range(1, BATCHES + 1)
    ]


@pytest.mark.parametrize("finished", [(FIRST,), (FIRST, SECOND)])
def test_a_finished_stage_is_recalled_and_not_trained(
    finished: tuple[str, ...], whole: tuple[dict[str, Tensor], Memory]
) -> None:
    keeper, told = Memory({name: whole[1].known[name] for name in finished}, finished), Told()
    torch.manual_seed(99)
    result, stepped = trained(keeper, told)
    assert equal(result, whole[0])
    assert stepped == [name for name in (FIRST, SECOND) if name not in finished for _ in range(EPOCHS * BATCHES)]
    for name in finished:
        assert [event for event in told.events if name in event.split()] == [f"recalled {name} after {EPOCHS}"]
        assert name not in {position[0] for position in keeper.positions}
    assert [line for line in keeper.heard if "knows" in line] == [f"knows {name}" for name in finished]
    assert [line for line in keeper.heard if "closes" in line] == [f"closes {FIRST}", f"closes {SECOND}"]


@pytest.mark.parametrize("kept", range(2 * EPOCHS * BATCHES))
def test_a_stage_goes_on_from_any_batch(kept: int, whole: tuple[dict[str, Tensor], Memory]) -> None:
    """The position after the last batch of an epoch, but before its end, included."""
    name, epoch, batch = whole[1].positions[kept]
    finished = (FIRST,) if name == SECOND else ()
    keeper = Memory({FIRST: whole[1].known[FIRST], name: whole[1].states[kept]}, finished)
    torch.manual_seed(99)
    result, stepped = trained(keeper)
    assert equal(result, whole[0])
    assert stepped.count(name) == EPOCHS * BATCHES - epoch * BATCHES - batch


def test_the_monitor_has_heard_of_a_batch_before_it_is_kept() -> None:
    told = Told()

    class Last(Memory):
        def progressed(self, work: Work) -> None:
            assert told.events[-1] == f"batch of {work.name}"

    trained(Last(), told)


def test_a_stage_that_fails_is_not_kept() -> None:
    def failing() -> Iterator[Stage]:
        stages = plan([])
        yield next(stages)
        second = next(stages)
        second.step = fail
        yield second

    def fail(stage: Stage, batch: Batch) -> None:
        raise ZeroDivisionError

    keeper = Memory()
    with pytest.raises(ZeroDivisionError):
        execute(failing(), Monitor(), keeper)
    assert set(keeper.known) == {FIRST}
    assert keeper.heard == [f"opens {FIRST}", f"closes {FIRST}", f"opens {SECOND}"]


def test_broken_weights_are_not_kept() -> None:
    def breaking() -> Iterator[Stage]:
        stage = next(plan([]))
        stage.step = step
        yield stage

    def step(stage: Stage, batch: Batch) -> None:
        supervised(stage, batch)
        if (stage.epoch, stage.batch) == (EPOCHS - 1, BATCHES - 1):
            with torch.no_grad():
                next(stage.target.parameters()).fill_(float("nan"))

    keeper = Memory()
    with pytest.raises(RunFailed, match="broke down by its end"):
        execute(breaking(), Monitor(), keeper)
    assert keeper.known == {}


def test_a_stage_trains_where_the_loop_says() -> None:
    compute, stage = Compute(), next(plan([]))
    execute(iter([stage]), Monitor(), compute=compute)
    assert stage.compute is compute


# -- out of memory


def failing_with(error: Exception) -> Stage:
    """A stage that fails in the third batch of its second epoch."""

    def step(stage: Stage, batch: Batch) -> None:
        if (stage.epoch, stage.batch) == (1, 2):
            raise error

    stage = next(plan([]))
    stage.step = step
    return stage


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), MemoryError()], ids=repr)
def test_a_lack_of_memory_is_told_with_its_place_and_what_to_lower(error: Exception) -> None:
    stage = failing_with(error)
    with pytest.raises(RunFailed) as raised:
        execute(iter([stage]), Monitor())
    assert raised.value.__cause__ is error
    assert str(raised.value) == (
        "Stage `teacher/train` ran out of memory in epoch 2, batch 3, on 16 images. "
        "Lower its option `batch_size`, choose a smaller model, or use --precision bf16."
    )


def test_another_error_of_a_step_is_left_as_it_is() -> None:
    error = RuntimeError("shapes do not fit")
    with pytest.raises(RuntimeError) as raised:
        execute(iter([failing_with(error)]), Monitor())
    assert raised.value is error


def test_a_tensor_that_is_really_too_large_is_told_like_that() -> None:
    def step(stage: Stage, batch: Batch) -> None:
        torch.empty(1 << 50)

    stage = next(plan([]))
    stage.step = step
    with pytest.raises(RunFailed, match="ran out of memory in epoch 1, batch 1, on 16 images"):
        execute(iter([stage]), Monitor())

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.data.images import Batch
from rcframe.errors import RequestError, RunFailed
from rcframe.evaluation.evaluate import predict
from rcframe.testing.toys import some_images, toy_run
from rcframe.training.compute import Accelerated, Compute
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.observer import Observer
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

CPU = torch.device("cpu")
T = TypeVar("T")


@pytest.fixture
def halved() -> Iterator[Accelerated]:
    """Training in bfloat16 on the processor."""
    compute = Accelerated(CPU, "bf16")
    yield compute
    compute.close()


class Types(Observer):
    """Writes down which types of numbers are seen where."""

    def __init__(self) -> None:
        self.seen: dict[str, set[torch.dtype]] = {}

    def note(self, where: str, *tensors: Tensor) -> None:
        self.seen.setdefault(where, set()).update(tensor.dtype for tensor in tensors)

    def step(self, stage: Stage, batch: Batch) -> None:
        logits = stage.module(batch.images)
        loss = F.cross_entropy(logits, batch.labels)
        self.note("logits", logits)
        self.note("loss", loss)
        self.note("parameters", *stage.target.parameters())
        stage.update(loss)

    def penalty(self, stage: Stage) -> Tensor:
        weights = next(stage.target.parameters()).flatten(1)
        product = weights @ weights.T
        self.note("penalty", product)
        return 1e-3 * product.square().mean()

    def before_update(self, stage: Stage) -> None:
        self.note("gradients", *(p.grad for p in stage.target.parameters() if p.grad is not None))

    def after_update(self, stage: Stage) -> None:
        assert stage.optimizer is not None
        moved = [value for state in stage.optimizer.state.values() for value in state.values()]
        self.note("optimizer", *(value for value in moved if isinstance(value, Tensor)))


def stage_of(step: Callable[[Stage, Batch], None] = supervised, *observers: Observer) -> Stage:
    run = toy_run("teacher")
    return Training(epochs=4, batch_size=16, lr=5e-3).stage(run, run.network("net"), step, observers=observers)


def trained(compute: Compute) -> Mapping[str, Tensor]:
    stage = stage_of()
    execute(iter([stage]), Monitor(), compute=compute)
    return stage.target.state_dict()


# -- one process in full precision


def test_a_plain_device_is_one_process_in_full_precision() -> None:
    compute = Compute()
    assert (compute.device, compute.precision, compute.index, compute.count) == (CPU, "fp32", 0, 1)
    assert compute.is_main
    assert compute.scaler is None
    with compute.autocast():
        assert not torch.is_autocast_enabled("cpu")


def test_alone_everything_is_ones_own() -> None:
    compute, made = Compute(), iter("abc")
    tensor = torch.ones(2)
    assert compute.from_main(lambda: next(made)) == "a"
    assert compute.main_first(lambda: next(made)) == "b"
    assert compute.gather("x") == ["x"]
    assert torch.equal(compute.total(tensor), torch.ones(2))
    assert list(made) == ["c"]
    compute.close()


class Numbered(Compute):
    """One of several processes, which says when it waits for the main one."""

    count = 3

    def __init__(self, index: int) -> None:
        super().__init__()
        self.index, self.events = index, list[str]()

    def from_main(self, make: Callable[[], T]) -> T:
        self.events.append("meets the others")
        return make()


@pytest.mark.parametrize(("index", "events"), [(0, ["makes", "meets the others"]), (1, ["meets the others", "makes"])])
def test_what_the_main_process_makes_first_the_others_make_afterwards(index: int, events: list[str]) -> None:
    compute = Numbered(index)

    def make() -> int:
        compute.events.append("makes")
        return index

    assert compute.main_first(make) == index
    assert compute.events == events
    assert compute.is_main is (index == 0)


# -- precision


def test_steps_compute_in_half_precision_and_everything_that_lasts_is_in_full(halved: Accelerated) -> None:
    types = Types()
    stage = stage_of(types.step, types)
    execute(iter([stage]), Monitor(), compute=halved)
    full = {torch.float32}
    assert types.seen == {
        "logits": {torch.bfloat16},
        **dict.fromkeys(("loss", "parameters", "penalty", "gradients", "optimizer"), full),
    }
    assert {tensor.dtype for tensor in stage.target.state_dict().values()} == full
    assert halved.precision == "bf16"
    assert halved.scaler is None


def test_a_network_trained_in_half_precision_is_measured_in_full(halved: Accelerated) -> None:
    stage = stage_of()
    execute(iter([stage]), Monitor(), compute=halved)
    x, y = some_images()
    seen: list[torch.dtype] = []
    stage.target.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    assert int((predict(stage.target, x) == y).sum()) == len(y)
    assert seen == [torch.float32]
    assert not torch.is_autocast_enabled("cpu")


def test_half_precision_gives_other_weights_but_not_far_away(halved: Accelerated) -> None:
    half, full = trained(halved), trained(Compute())
    assert any(not torch.equal(half[name], full[name]) for name in full)
    for name, value in full.items():
        torch.testing.assert_close(half[name], value, rtol=0, atol=0.05)


def test_half_precision_repeats(halved: Accelerated) -> None:
    first = trained(halved)
    assert all(torch.equal(value, first[name]) for name, value in trained(Accelerated(CPU, "bf16")).items())


def test_full_precision_is_the_same_by_either_way() -> None:
    compute = Accelerated(CPU, "fp32")
    try:
        assert (compute.precision, compute.count, compute.device) == ("fp32", 1, CPU)
        accelerated = trained(compute)
    finally:
        compute.close()
    plain = trained(Compute())
    assert all(torch.equal(accelerated[name], value) for name, value in plain.items())


def test_runs_in_different_precisions_follow_each_other() -> None:
    types: list[torch.dtype] = []
    for compute in (Accelerated(CPU, "bf16"), Accelerated(CPU, "fp32"), Accelerated(CPU, "bf16")):
        with compute.autocast():
            types.append(nn.Linear(2, 2)(torch.ones(1, 2)).dtype)
        compute.close()
    assert types == [torch.bfloat16, torch.float32, torch.bfloat16]


def test_an_error_in_a_step_leaves_half_precision(halved: Accelerated) -> None:
    def fail(stage: Stage, batch: Batch) -> None:
        assert torch.is_autocast_enabled("cpu")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        execute(iter([stage_of(fail)]), Monitor(), compute=halved)
    assert not torch.is_autocast_enabled("cpu")


def test_fp16_is_refused_where_it_would_not_work() -> None:
    with pytest.raises(RequestError) as raised:
        Accelerated(CPU, "fp16")
    assert str(raised.value) == ("--precision fp16 needs a CUDA device, and this run uses `cpu`: choose bf16 or fp32.")


def test_one_accelerated_process_is_alone(halved: Accelerated) -> None:
    assert (halved.index, halved.count, halved.is_main) == (0, 1, True)
    assert halved.from_main(lambda: "made") == "made"
    assert halved.gather(3) == [3]
    assert torch.equal(halved.total(torch.tensor([1, 2])), torch.tensor([1, 2]))


# -- on a GPU

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def gpu_stage(compute: Compute, step: Callable[[Stage, Batch], None] = supervised, epochs: int = 12) -> Stage:
    run = attrs.evolve(toy_run("teacher"), compute=compute)
    return Training(epochs=epochs, batch_size=16, lr=5e-3).stage(run, run.network("net"), step)


@cuda
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_every_precision_trains_on_a_gpu_and_the_state_goes_on(precision: str) -> None:
    compute = Accelerated(torch.device("cuda"), precision)  # type: ignore[arg-type]  # one of the three
    whole, again = gpu_stage(compute), gpu_stage(compute)
    execute(iter([whole]), Monitor(), compute=compute)
    x, y = (tensor.cuda() for tensor in some_images())
    assert int((predict(whole.target, x) == y).sum()) == len(y)
    assert (compute.scaler is not None) is (precision == "fp16")
    again.compute = compute
    again.begin()
    again.load_state_dict({**whole.state_dict()})
    assert all(torch.equal(again.target.state_dict()[name], v) for name, v in whole.target.state_dict().items())
    compute.close()


@cuda
def test_a_broken_loss_on_a_gpu_is_named_with_its_own_step() -> None:
    def step(stage: Stage, batch: Batch) -> None:
        loss = F.cross_entropy(stage.module(batch.images), batch.labels)
        stage.update(loss * float("nan") if (stage.epoch, stage.batch) == (1, 2) else loss)

    compute = Compute(torch.device("cuda"))
    with pytest.raises(RunFailed, match=r"broke down in epoch 2 of 40, batch 3 of 4: its loss is nan"):
        execute(iter([gpu_stage(compute, step, epochs=40)]), Monitor(), compute=compute)
